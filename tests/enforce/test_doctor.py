"""What the doctor finds is so, and it leaves nothing behind."""

import os
import shutil
from pathlib import Path

import pytest

from offswitch.enforce import doctor
from offswitch.sandboxes import preflight


@pytest.fixture(autouse=True)
def _fresh() -> None:
    preflight.missing.cache_clear()


def groups() -> set[str]:
    return {
        str(path) for path in Path("/sys/fs/cgroup").glob("**/offswitch-*") if f"-{os.getpid()}-" in path.name
    }


def test_every_check_says_what_it_found_and_how_to_mend_what_is_missing() -> None:
    before = groups()
    found = doctor.checks()
    assert len({check.name for check in found}) == len(found) == 14
    for check in found:
        assert check.state in (doctor.OK, doctor.LIMITED, doctor.MISSING)
        assert check.what
        assert "\n" not in check.what + check.mend
        assert check.state == doctor.OK or check.mend, check.name
        assert "could not be examined" not in check.what, check.what
        assert set(check.as_dict()) == {"name", "state", "what", "mend", "needed"}
    assert groups() == before
    assert doctor.able(found) == (preflight.missing() is None)


def test_without_bubblewrap_no_agent_can_be_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check for check in doctor.checks()}
    assert found["bubblewrap"].state == doctor.MISSING
    assert "install" in found["bubblewrap"].mend
    assert not doctor.able(list(found.values()))
    for name in ("podman or docker", "gVisor", "QEMU"):
        assert found[name].state == doctor.MISSING
        assert "install" in found[name].mend


def test_a_program_that_does_not_run_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("runsc", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check.state for check in doctor.checks()}
    assert (found["gVisor"], found["podman or docker"]) == (doctor.MISSING, doctor.MISSING)


@pytest.mark.parametrize(
    ("setting", "value", "state", "said", "mend"),
    [
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            doctor.LIMITED,
            "AppArmor",
            "apparmor_parser",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            doctor.MISSING,
            "ordinary users",
            "userns_clone=1",
        ),
        ("/proc/sys/user/max_user_namespaces", "0", doctor.MISSING, "switched off", "max_user_namespaces="),
    ],
)
def test_what_restricts_user_namespaces_is_named_with_its_mend(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, state: str, said: str, mend: str
) -> None:
    settings = {"/proc/sys/user/max_user_namespaces": "15000"}
    settings[setting] = value
    monkeypatch.setattr(doctor, "_setting", lambda path: settings.get(path, ""))
    found = doctor._user_namespaces()
    assert (found.state, found.needed) == (state, True)
    assert said in found.what
    assert mend in found.mend
    assert doctor.able([found]) == (state != doctor.MISSING)


def test_the_profile_that_the_doctor_offers_lets_bubblewrap_alone_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    monkeypatch.setattr(doctor, "_setting", lambda path: "1" if path == setting else "")
    mend = doctor._user_namespaces().mend
    assert "/etc/apparmor.d/bwrap" in mend
    assert "profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }" in mend
    # Without the restriction nothing is said of it.
    monkeypatch.setattr(doctor, "_setting", lambda path: "0" if path == setting else "")
    assert "AppArmor" not in doctor._user_namespaces().what


def test_what_other_kinds_lack_does_not_matter_to_the_default_one() -> None:
    found = doctor.checks()
    needed = {check.name for check in found if check.needed}
    assert needed == {"user namespaces", "bubblewrap", "seccomp", "clock of leases"}
    for check in found:
        if not check.needed:
            check.state = doctor.MISSING
    assert doctor.able(found) == (preflight.missing() is None)


def test_only_what_can_be_prepared_is() -> None:
    with pytest.raises(doctor.Unprepared, match="microvm"):
        doctor.prepare("bubblewrap")


def test_the_device_of_kvm_is_tried_and_not_only_seen() -> None:
    found = {check.name: check for check in doctor.checks()}["KVM"]
    if not os.path.exists("/dev/kvm"):
        assert found.state == doctor.MISSING
        return
    assert found.what
    if shutil.which("qemu-system-x86_64") is None:
        assert found.state in (doctor.OK, doctor.MISSING)
