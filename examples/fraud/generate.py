"""Generated card payments: habits of cards, now and then a stolen one, and chargebacks told days later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2025, 1, 1, tzinfo=UTC)


def generate(folder: Path, *, days: int = 150, cards: int = 120, seed: int = 1) -> None:
    """Writes payments and chargebacks as parquet files under a folder."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, str, str, str, str, str, float, bool]] = []
    for card in range(cards):
        usual, spread = rng.lognormal(3.2, 0.5), rng.uniform(0.3, 0.7)
        own = rng.choice(60, size=rng.integers(3, 9), replace=False)
        for at in np.sort(rng.uniform(0, days, rng.poisson(0.45 * days))):
            hour = at - at % 1 + np.clip(rng.normal(14, 4), 0, 23.99) / 24
            merchant = f"m{rng.choice(own) if rng.random() < 0.9 else rng.integers(60)}"
            amount = usual * rng.lognormal(0, spread)
            device = f"d{card}" if rng.random() < 0.97 else f"shared{rng.integers(6)}"
            rows.append((hour, f"c{card}", device, merchant, f"u{card}", f"u{rng.integers(cards)}", amount, False))
        for _ in range(rng.poisson(days / 140)):  # stolen: some quick and large payments from a device of the ring
            begin, device = rng.uniform(20, days), f"ring{rng.integers(4)}"
            if rng.random() < 0.3:
                device = f"new{rng.integers(10_000)}"
            for k in range(rng.integers(2, 7)):
                at, amount = begin + rng.exponential(0.04) * k, usual * rng.lognormal(0.9, 0.6)
                merchant = f"m{rng.integers(60)}"
                rows.append((at, f"c{card}", device, merchant, f"u{card}", f"u{rng.integers(cards)}", amount, True))
    rows = sorted(row for row in rows if row[0] < days)
    when = [START + timedelta(days=round(row[0], 6)) for row in rows]
    names = ("card_id", "device_id", "merchant_id", "payer_id", "payee_id")
    utc = pa.timestamp("us", "UTC")
    payments = {
        "payment_id": pa.array(range(len(rows)), pa.int64()),
        **{name: [str(row[k]) for row in rows] for k, name in enumerate(names, 1)},
        "amount": [round(float(row[6]), 2) for row in rows],
        "paid_at": pa.array(when, utc),
    }
    told = [(k, when[k] + timedelta(days=float(rng.uniform(3, 29)))) for k, row in enumerate(rows) if row[7]]
    told = [one for one in told if rng.random() < 0.95]  # few are never noticed
    end = START + timedelta(days=days + 31)
    known = [(k, at) for k, at in told if at < end]
    for name in ("payments", "chargebacks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(payments), folder / "payments" / "payments.parquet")
    chargebacks = {
        "payment_id": pa.array([k for k, _ in known], pa.int64()),
        "card_id": [rows[k][1] for k, _ in known],
        "told_at": pa.array([at for _, at in known], utc),
    }
    pq.write_table(pa.table(chargebacks), folder / "chargebacks" / "chargebacks.parquet")
