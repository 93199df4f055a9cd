"""Base against candidate: pairing, verdicts, thresholds, and the differences behind them."""
