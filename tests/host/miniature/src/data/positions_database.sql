CREATE TABLE IF NOT EXISTS positions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    symbol TEXT NOT NULL,
    entry_date TEXT NOT NULL,
    entry_price REAL NOT NULL,
    shares INTEGER NOT NULL,
    position_size REAL NOT NULL,
    exit_date TEXT,
    exit_price REAL,
    exit_value REAL,
    profit_loss REAL,
    profit_loss_pct REAL,
    status TEXT DEFAULT 'OPEN',
    strategy TEXT,
    entry_reason TEXT,
    exit_reason TEXT,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    updated_at TEXT DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS position_notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position_id INTEGER, note_type TEXT, note TEXT
);
CREATE TRIGGER IF NOT EXISTS touched AFTER UPDATE ON positions
BEGIN
    UPDATE positions SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;
INSERT INTO positions (symbol, entry_date, entry_price, shares, position_size, exit_price, profit_loss, status)
VALUES ('TLRY', '2025-12-01', 8.0, 100, 800.0, 8.5, 50.0, 'CLOSED');
CREATE VIEW IF NOT EXISTS performance_summary AS
SELECT symbol, COUNT(*) AS total_trades, SUM(profit_loss) AS total_profit_loss FROM positions GROUP BY symbol;
CREATE VIEW IF NOT EXISTS monthly_performance AS
SELECT substr(exit_date, 1, 7) AS month, SUM(profit_loss) AS profit_loss FROM positions
WHERE status = 'CLOSED' GROUP BY month;
