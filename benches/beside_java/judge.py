"""Whether Rokini is worse than the Java daemon at anything that happens to both. Pure."""

# A worker checkpoints every 5 s what comes at 80 records a second: what a kill makes come again is less than 7 s of that.
MOST_REPEATED = 560
# The daemon of Rokini may end where it was told or killed, and nowhere else.
ENDS = ("kill -9 of the daemon", "kill -9 of both", "SIGTERM")
# Two measurements of the same thing differ by so much, in seconds.
NOISE = 0.5


def worse(rokini, java=None):
    """What is wrong with Rokini, as sentences; none is good. `java` is missing where only Rokini was measured."""
    wrong = []
    for event, figures in rokini.items():
        for what in ("lost", "out of order", "left behind"):
            if figures[what]:
                wrong.append(f"{event}: {figures[what]} {what}")
        if not figures["recovered"]:
            wrong.append(f"{event}: it does not recover")
        if not figures["records"]:
            wrong.append(f"{event}: nothing was put, so nothing is shown")
        if figures["daemon ended"] and event not in ENDS:
            wrong.append(f"{event}: the daemon ended {figures['daemon ended']} times")
        if figures["repeated"] > MOST_REPEATED:
            wrong.append(f"{event}: {figures['repeated']} repeated, more than was handled since the last checkpoint")
        if java and event in java:
            ours, theirs = figures["silence, s"]["longest"], java[event]["silence, s"]["longest"]
            if ours > theirs + NOISE:
                wrong.append(f"{event}: {ours:.1f} s of silence, and {theirs:.1f} s with the Java daemon")
    if java:
        wrong += [f"{event}: not measured with Rokini" for event in java if event not in rokini]
    return wrong


def check():
    """The judgement itself: each fault is found, and what is good passes."""
    good = {"records": 900, "lost": 0, "out of order": 0, "left behind": 0, "recovered": True, "daemon ended": 0, "repeated": 40}
    good["silence, s"] = {"longest": 0.7, "median": 0.2}
    java = {"split": {**good, "silence, s": {"longest": 33.0, "median": 9.0}, "lost": 3}}
    assert worse({"split": good}, java) == [], worse({"split": good}, java)
    assert worse({"split": good}) == [] and worse({"SIGTERM": {**good, "daemon ended": 1}}) == []
    for fault in (
        {"lost": 1},
        {"out of order": 1},
        {"left behind": 1},
        {"recovered": False},
        {"records": 0},
        {"daemon ended": 1},
        {"repeated": 900},
        {"silence, s": {"longest": 34.0, "median": 0.2}},
    ):
        assert len(worse({"split": {**good, **fault}}, java)) == 1, fault
    assert worse({}, java) == ["split: not measured with Rokini"]
