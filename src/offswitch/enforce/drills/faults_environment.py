from offswitch.enforce.drills.faults import Fault

FAULTS: list[Fault] = []
