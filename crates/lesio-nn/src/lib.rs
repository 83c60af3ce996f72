//! Networks declared as values, with a candle module and a planned CPU engine, seeded parameters, Adam and checkpoints.
