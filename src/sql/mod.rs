//! TODO-sql
