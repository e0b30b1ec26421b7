"""Random histories of sources, made from a seed alone: what engine and oracles are compared on.

They hold what goes wrong: equal times, rows that come late or were said beforehand, revisions that change value, group
or filter (some with equal availability), exact duplicates, nulls, NaN, zeros of both signs, big values, null groups.
"""

import random

from .sources import DAY, HOUR, SECOND

START = 19_700 * DAY  # 2023-12-09
KINDS = ("a", "b", "c", None)


def random_history(seed, *, groups=3, rows=30, days=3, ties=0.3, late=0.3, early=0.05, revised=0.25, duplicates=0.1):
    """Delivered rows in random order: row_id, customer_id, merchant, number, amount, kind, ok, event, available.

    Row identity by keys ("row_id",), event and order ("number",); `number` alone repeats among rows.
    """
    rng = random.Random(seed)
    delivered = []
    event = START
    for row_id in range(rows):
        if row_id == 0 or rng.random() >= ties:
            event = START + rng.randrange(days * DAY // (HOUR // 4)) * (HOUR // 4) + rng.choice([0, 0, 1, SECOND])
        row = {"row_id": row_id, "number": rng.randrange(rows), "event": event, **random_values(rng, groups)}
        row["available"] = event + random_delay(rng, late, early)
        delivered.append(row)
        while rng.random() < revised:
            row = {**row, **random_values(rng, groups, merchant=row["merchant"])}
            row["available"] += rng.choice([0, 1, HOUR, DAY])
            delivered.append(row)
        if rng.random() < duplicates:
            delivered.append(dict(row))
    rng.shuffle(delivered)
    return delivered


def random_values(rng, groups, *, merchant=None):
    """The columns that a revision may change; most revisions keep the merchant."""
    customer = rng.choice([*(f"c{n}" for n in range(groups)), "c0", "c1", None if rng.random() < 0.2 else "c0"])
    amounts = [None, float("nan"), 0.0, -0.0, 1.0, 1.0, 2.5, 0.1, -7.25, 1e16, -1e16, 1e300, 1e-300]
    kept = merchant is not None and rng.random() < 0.7
    return {
        "customer_id": customer,
        "merchant": merchant if kept else f"m{rng.randrange(groups)}",
        "amount": rng.choice(amounts) if rng.random() < 0.6 else round(rng.uniform(-100, 100), 2),
        "kind": rng.choice(KINDS),
        "ok": rng.choice([True, True, True, False, None]),
    }


def random_delay(rng, late, early):
    if rng.random() < late:
        return rng.choice([1, SECOND, HOUR, HOUR // 4, DAY, 2 * DAY])
    return -rng.choice([1, HOUR]) if rng.random() < early else 0


def random_attempts(seed, *, lots=2, wafers=2, dies=4, days=2, retested=0.4, late=0.2):
    """Attempts of dies: the columns of a die, run_id, part_index, passed, vdd, event, available; in random order.

    A run is one wafer's pass; retests come in a run of their own, hours or days later. Parts of one touchdown share a
    time. Some dies have no place.
    """
    rng = random.Random(seed)
    delivered = []
    for lot in range(lots):
        for wafer in range(wafers):
            start = START + rng.randrange(days * 24) * HOUR
            places = [(x, y) for x in range(dies) for y in range(2)]
            for run in range(3):
                tested = places if run == 0 else [place for place in places if rng.random() < retested]
                touchdown = start + run * rng.choice([HOUR, DAY])
                comes = rng.choice([HOUR, DAY]) if rng.random() < late else 0
                insertion = "2" if run == 2 else "1"
                for part, (x, y) in enumerate(tested):
                    touchdown += SECOND if part % 2 == 0 else 0
                    delivered.append(
                        {
                            "lot_id": f"L{lot}",
                            "wafer_id": f"W{wafer}",
                            "insertion": insertion,
                            "die_x": None if rng.random() < 0.05 else x,
                            "die_y": y,
                            "run_id": f"L{lot}W{wafer}R{run}",
                            "part_index": part,
                            "passed": rng.choice([True, True, False, None]),
                            "vdd": rng.choice([None, 1.0, 1.2, rng.gauss(1.1, 0.1)]),
                            "event": touchdown,
                            "available": touchdown + comes,
                        }
                    )
    rng.shuffle(delivered)
    return delivered
