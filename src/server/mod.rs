//! TODO-server
