//! Heat maps, montages, curves, self-contained HTML reports and JSON.
