# What python-dateutil says of series: one JSON object a line comes in, one JSON list a line goes out, of seconds since
# 1970 or of days. `recurrence.rs` runs it and compares. What is done here beyond asking dateutil:
# - The beginning is in the set whatever its rule says, as in RFC 5545's recurrence set.
# - Two times of a clock that are one instant, because the first was skipped, are one occurrence.
# - "This rule names nothing" is an error to dateutil, and the empty set to everybody else.
# - Time ends with the year after the window: dateutil looks for what a rule never names until the year 9999.
import datetime as calendar
import json
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from dateutil.rrule import rruleset, rrulestr

# Moments after the window that are looked at before a rule's end is believed to be passed: a skipped time comes out of
# order by less than a day, and hours have 3,600 seconds.
AFTER_MAX = 200


class Rule:
    def __init__(self, rule):
        self.rule = rule

    def __iter__(self):
        try:
            yield from self.rule
        except ValueError as error:
            if "empty" not in str(error):
                raise


def moment(text, zone):
    at = datetime.strptime(text.rstrip("Z"), "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d")
    return at.replace(tzinfo=timezone.utc if text.endswith("Z") else zone)


def expanded(case):
    until = case["until"]
    calendar.MAXYEAR = 1 + (int(until[:4]) if case["zone"] is None else datetime.fromtimestamp(until, timezone.utc).year)
    zone = ZoneInfo(case["zone"]) if case["zone"] else timezone.utc
    start = datetime.strptime(case["start"], "%Y%m%dT%H%M%S").replace(tzinfo=zone)
    found = rruleset()
    found.rdate(start)
    for line in case["lines"]:
        name, value = line.split(":", 1)
        if name in ("RRULE", "EXRULE"):
            # It takes UNTIL in UTC only where there is a zone; here it may be anything that is an instant.
            parts = [part for part in value.split(";") if not part.startswith("UNTIL=")]
            until = [part[6:] for part in value.split(";") if part.startswith("UNTIL=")]
            try:
                rule = rrulestr(";".join(parts), dtstart=start)
            except ValueError as error:
                if "empty" in str(error):
                    continue
                raise
            for text in until:
                rule = rule.replace(until=moment(text, zone))
            (found.rrule if name == "RRULE" else found.exrule)(Rule(rule))
        else:
            for text in value.split(","):
                (found.rdate if name == "RDATE" else found.exdate)(moment(text, zone))
    starts, after = set(), 0
    for at in found:
        if case["zone"] is None:
            value = at.date().isoformat()
            within = case["from"] <= value < case["until"]
            later = value >= case["until"]
        else:
            value = int(at.timestamp())
            within = case["from"] <= value < case["until"]
            later = value >= case["until"]
        if within:
            starts.add(value)
        if later:
            after += 1
            if after > AFTER_MAX:
                break
    return sorted(starts)


for line in sys.stdin:
    print(json.dumps(expanded(json.loads(line))))
