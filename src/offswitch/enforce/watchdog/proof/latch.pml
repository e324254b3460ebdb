/* What spin checks of the latch: written by hand, and joined with the rows, which are made from the table.
 * There are two parts and two judgements. Bounds are any of 1 to MOST, and 0 to MOST ticks of the host pass at a tick. */

#define DUE 255

byte state = IDLE;
byte lease, grace, decision[2], heartbeat[2];    /* ticks left; 0: it does not run; DUE: it ran out and is not told */

/* What happens, and what is done about it. */
byte event, key, given, elapsed;
int does;

/* What has happened so far. Nothing of it is read from the table. */
bool lives;             /* something of the agent may live */
bool killing;           /* a kill was issued since it was started, and its death was not observed since */
bool due;               /* there was a reason to stop it, and no reset since */
bool frozen, disk;
byte lease_age, lease_bound, grace_age, grace_bound;
byte silent[2], silence[2], thought[2], thinking[2];
byte was;

inline account()
{
    if
    :: event == START && !lives && !due -> lives = true; lease_age = 0; lease_bound = given;
       silent[0] = 0; silence[0] = given; silent[1] = 0; silence[1] = given; assert(does & DO_START)
    :: event == START && (lives || due) -> assert(!(does & DO_START))
    :: event == ORDER_0 || event == FOUND_STOP || event == UNJUDGED_STOP || event == LEASE_OUT || event == GRACE_OUT ->
       assert(!lives || (does & DO_KILL)); due = true; killing = killing || lives
    :: event == ORDER_1 -> if
       :: lives && !killing && !due -> assert(does & DO_WARN); grace_age = 0; grace_bound = given
       :: else -> assert(!(does & DO_WARN))
       fi; due = true
    :: event == PART_LOST || event == OBSERVER_LOST || event == HEARTBEAT_OUT -> if
       :: lives && !killing -> assert(does & DO_KILL); due = true; killing = true
       :: else
       fi
    :: event == ENDED -> if
       :: lives && !killing -> assert(does & DO_KILL); killing = true
       :: else
       fi
    :: event == DEAD -> if
       :: lives && killing -> lives = false; killing = false
       :: lives && !killing -> assert(does & DO_KILL); due = true; killing = true
       :: else
       fi
    :: event == ALIVE -> if
       :: !lives -> assert(does & DO_KILL); lives = true; due = true; killing = true;
          silent[0] = 0; silence[0] = given; silent[1] = 0; silence[1] = given
       :: else
       fi
    :: event == RESET -> assert(!(does & DO_START)); due = due && lives
    :: event == RENEW -> assert(!(does & DO_RENEW) || (lives && !killing && !due)); if
       :: lives && !killing && !due -> lease_age = 0; lease_bound = given
       :: else
       fi
    :: event == TICK -> assert(!(lives && killing) || (does & DO_KILL))
    :: event == JUDGING -> if
       :: !thinking[key] && (!due || (lives && !killing)) -> thought[key] = 0; thinking[key] = given
       :: else
       fi
    :: event == FOUND_NOTHING || event == FOUND_OBSERVE || event == UNJUDGED_OBSERVE ||
       event == FOUND_DENY || event == UNJUDGED_DENY -> thinking[key] = 0
    :: else
    fi;
    if
    :: (event == BEAT || event == HEARTBEAT_OUT) && lives -> silent[key] = 0; silence[key] = given
    :: else
    fi;
    frozen = ((frozen || (does & DO_FREEZE)) && !(does & DO_THAW)) && lives && !killing;
    disk = (disk || (does & (DO_ARM | DO_LATCH))) && !(does & DO_OPEN);

    /* Once tripped it is never untripped without a reset, and a reset starts nothing. */
    assert(!(was == TRIPPED || was == STOPPED) || state == TRIPPED || state == STOPPED || event == RESET);
    assert(event != RESET || state == was || state == IDLE);
    /* No stop is forgotten: whatever happens then, it does not run but in a grace. */
    assert(!due || state == WARNED || state == TRIPPED || state == STOPPED);
    assert(!killing || state == ENDING || state == TRIPPED);
    /* Nothing goes upstream, and no call reaches it, unless it runs. */
    assert(!(does & (DO_FORWARD | DO_DELIVER)) || (lives && !killing && !frozen));
    assert(!(does & DO_DELIVER) || event == FOUND_NOTHING || event == FOUND_OBSERVE || event == UNJUDGED_OBSERVE);
    /* Whoever comes after a power cut finds a latch. */
    assert(disk == (lives || due));

    if
    :: lives && !killing && due
    :: else -> grace_age = 0; grace_bound = 0
    fi;
    if
    :: lives && !killing
    :: else -> lease_age = 0; lease_bound = 0
    fi;
    if
    :: lives
    :: else -> silent[0] = 0; silence[0] = 0; silent[1] = 0; silence[1] = 0
    fi;
    if
    :: due && (!lives || killing) -> thinking[0] = 0; thinking[1] = 0
    :: else
    fi;
    if :: thinking[0] == 0 -> thought[0] = 0 :: else fi;
    if :: thinking[1] == 0 -> thought[1] = 0 :: else fi
}

inline down(counter, ticks)
{
    if
    :: counter == 0
    :: counter > ticks && counter != 0 -> counter = counter - ticks
    :: counter <= ticks && counter != 0 -> counter = DUE
    fi
}

inline older(age, bound, ticks)
{
    if
    :: bound && age + ticks <= MOST -> age = age + ticks
    :: bound && age + ticks > MOST -> age = MOST
    :: else
    fi
}

inline pass()
{
    down(lease, TICKS_LEASE); down(grace, TICKS_GRACE);
    down(decision[0], TICKS_DECISION); down(decision[1], TICKS_DECISION);
    down(heartbeat[0], TICKS_HEARTBEAT); down(heartbeat[1], TICKS_HEARTBEAT);
    older(lease_age, lease_bound, elapsed); older(grace_age, grace_bound, elapsed);
    older(thought[0], thinking[0], elapsed); older(thought[1], thinking[1], elapsed);
    older(silent[0], silence[0], 1); older(silent[1], silence[1], 1)
}

inline in_time()
{
    /* Nothing that is out by now leaves it running. */
    assert(!lives || killing || lease_age < lease_bound);
    assert(!lives || killing || !due || grace_age < grace_bound);
    assert(!lives || (silent[0] < silence[0] && silent[1] < silence[1]));
    assert(!thinking[0] || thought[0] < thinking[0]);
    assert(!thinking[1] || thought[1] < thinking[1]);
    /* And nothing ran out before. */
    assert(early == 0)
}

bit early;

#define ANY_DUE (lease == DUE || grace == DUE || decision[0] == DUE || decision[1] == DUE || \
                 heartbeat[0] == DUE || heartbeat[1] == DUE)

/* One of those that ran out, in any order. */
inline choose_due()
{
    if
    :: lease == DUE -> lease = 0; early = lease_age < lease_bound; event = LEASE_TOLD
    :: grace == DUE -> grace = 0; early = grace_age < grace_bound; event = GRACE_TOLD
    :: decision[0] == DUE -> decision[0] = 0; early = thought[0] < thinking[0]; event = DECISION_TOLD; key = 0
    :: decision[1] == DUE -> decision[1] = 0; early = thought[1] < thinking[1]; event = DECISION_TOLD; key = 1
    :: heartbeat[0] == DUE -> heartbeat[0] = 0; early = silent[0] < silence[0]; event = HEARTBEAT_TOLD; key = 0
    :: heartbeat[1] == DUE -> heartbeat[1] = 0; early = silent[1] < silence[1]; event = HEARTBEAT_TOLD; key = 1
    fi
}

/* Anything that may come from outside. */
inline choose()
{
    choose_event();
    if
    :: event == BEAT || event == HEARTBEAT_OUT || event == JUDGING || event == FOUND_NOTHING ||
       event == FOUND_OBSERVE || event == FOUND_DENY || event == FOUND_STOP || event == UNJUDGED_OBSERVE ||
       event == UNJUDGED_DENY || event == UNJUDGED_STOP -> if :: key = 0 :: key = 1 fi
    :: event == TICK -> select(elapsed : 0 .. MOST)
    :: else
    fi
}

init {
    if
    :: true
    :: state = STOPPED; due = true; disk = true
    fi;
    do
    :: atomic {
        key = NONE;
        if
        :: ANY_DUE -> choose_due()
        :: !ANY_DUE -> choose()
        fi;
        select(given : 1 .. MOST);
        d_step {
            was = state;
            row();
            dropped();
            account();
            if
            :: event == TICK -> pass()
            :: else
            fi;
            if
            :: ANY_DUE
            :: else -> in_time()
            fi;
            event = 0; key = 0; given = 0; elapsed = 0; does = 0; was = 0
        }
    }
    od
}
