"""Every morning without anybody: the live mode, and room for raw frames."""
