"""Positions in a SQLite file, as somebody wrote them down."""

import json
import sqlite3
from datetime import datetime
from pathlib import Path

import pandas as pd


class PositionTracker:
    def __init__(self, db_path="positions.db"):
        self.db_path = Path(__file__).parent / db_path
        self.conn = None
        self._initialize_database()

    def _initialize_database(self):
        self.conn = sqlite3.connect(self.db_path, check_same_thread=False)
        self.conn.row_factory = sqlite3.Row
        schema = (Path(__file__).parent / "positions_database.sql").read_text()
        for statement in schema.split(";"):
            if statement.strip():
                try:
                    self.conn.execute(statement)
                except sqlite3.OperationalError as e:
                    if "already exists" not in str(e):
                        print(f"Schema error: {e}")
        self.conn.commit()

    def add_position(self, symbol, entry_price, shares, entry_date=None, strategy="", entry_reason=""):
        entry_date = entry_date or datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        cursor = self.conn.execute(
            "INSERT INTO positions (symbol, entry_date, entry_price, shares, position_size, strategy, entry_reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (symbol, entry_date, entry_price, shares, entry_price * shares, strategy, entry_reason),
        )
        self.conn.commit()
        return cursor.lastrowid

    def close_position(self, position_id, exit_price, exit_date=None, exit_reason=""):
        exit_date = exit_date or datetime.now().strftime("%Y-%m-%d %H:%M:%S")
        pos = self.get_position(position_id)
        if not pos:
            return None
        profit = (exit_price - pos["entry_price"]) * pos["shares"]
        percent = (exit_price - pos["entry_price"]) / pos["entry_price"] * 100
        self.conn.execute(
            "UPDATE positions SET exit_date = ?, exit_price = ?, exit_value = ?, profit_loss = ?, profit_loss_pct = ?,"
            " exit_reason = ?, status = 'CLOSED' WHERE id = ? AND status = 'OPEN'",
            (exit_date, exit_price, exit_price * pos["shares"], profit, percent, exit_reason, position_id),
        )
        self.conn.commit()
        return self.get_position(position_id)

    def get_position(self, position_id):
        row = self.conn.execute("SELECT * FROM positions WHERE id = ?", (position_id,)).fetchone()
        return dict(row) if row else None

    def get_all_positions(self):
        return pd.read_sql_query("SELECT * FROM positions ORDER BY entry_date DESC", self.conn)

    def get_open_positions(self):
        return pd.read_sql_query(
            "SELECT id, symbol, shares, entry_price, entry_date, position_size,"
            " CAST(julianday('now') - julianday(entry_date) AS INTEGER) AS days_held, strategy"
            " FROM positions WHERE status = 'OPEN' ORDER BY entry_date DESC",
            self.conn,
        )

    def get_symbol_history(self, symbol):
        return pd.read_sql_query("SELECT * FROM positions WHERE symbol = ?", self.conn, params=(symbol,))

    def get_performance_summary(self):
        return pd.read_sql_query("SELECT * FROM performance_summary", self.conn)

    def get_monthly_performance(self):
        return pd.read_sql_query("SELECT * FROM monthly_performance", self.conn)

    def add_note(self, position_id, note, note_type="general"):
        self.conn.execute(
            "INSERT INTO position_notes (position_id, note_type, note) VALUES (?, ?, ?)", (position_id, note_type, note)
        )
        self.conn.commit()

    def import_json_position(self, json_path):
        data = json.loads(Path(json_path).read_text())
        self.add_position(
            data["symbol"], data["entry_price"], data["shares"], data["entry_date"], data.get("strategy", "")
        )


def main():
    tracker = PositionTracker()
    print(tracker.get_open_positions().to_string())
    print(tracker.get_performance_summary().to_string())


if __name__ == "__main__":
    main()
