"""Rows and views that the tests of the oracles share. Times are small integers, in microseconds."""

from tests.oracles.sources import HOUR, Source
from tests.oracles.state_views import StateView, Statistic, Window

PAYMENTS = Source(keys=("id",), order=("number",), reads=("amount", "customer", "ok"))
NAN = float("nan")
TEN = 10 * HOUR


def payment(event, amount=1.0, *, available=None, id=None, number=0, customer="c", **more):
    return {
        "id": event if id is None else id,
        "number": number,
        "customer": customer,
        "event": event,
        "available": event if available is None else available,
        "amount": amount,
        "ok": True,
        **more,
    }


def attempt(x, event, *, available=None, vdd=1.0, run="r1", part=0, wafer="W1", insertion="1"):
    die = {"lot_id": "L1", "wafer_id": wafer, "insertion": insertion, "die_x": x, "die_y": 0}
    available = event if available is None else available
    return {**die, "run_id": run, "part_index": part, "event": event, "available": available, "vdd": vdd}


def attempts_source(attempts, **more):
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    return Source(keys, ("vdd",), ("run_id", "part_index"), attempts=attempts, insertion="1", **more)


def feature(event, available=None, *, key="c", sequence=0, **values):
    available = event if available is None else available
    times = {"event_timestamp": event, "available_timestamp": available, "sequence": sequence}
    return {"customer_id": key, **times, **values}


def state_view(*statistics, source=PAYMENTS, **more):
    return StateView(source, {"customer_id": "customer"}, statistics, **more)


def count_in(length):
    return Statistic("n", "count", "amount", Window(length=length))


def column(rows, *names):
    """(event, columns) of each row, in units of the test."""
    return [tuple(row[name] for name in ("event_timestamp", *names)) for row in rows]
