//! report.json.
