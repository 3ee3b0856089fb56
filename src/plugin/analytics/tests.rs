//! History against a plain model, whatever comes between: writes, restarts, deletions.
