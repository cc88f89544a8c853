//! TODO-session
