//! Where a store is, and what it takes to get in.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result, SqlState};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `file://DIR`
    File(PathBuf),
}

impl StoreUrl {
    /// Reads a store's URL.
    ///
    /// # Errors
    /// 22023 for what is none, 0A000 for a bucket.
    pub fn parse(url: &str) -> Result<StoreUrl> {
        let wrong = |why: &str| {
            Error::new(SqlState::InvalidParameterValue, format!("\"{url}\" is no URL of a store: {why}"))
                .with_hint("A store is file:///an/absolute/folder.")
        };
        match url.split_once("://") {
            Some(("file", folder)) if folder.starts_with('/') => Ok(StoreUrl::File(folder.into())),
            Some(("file", _)) => Err(wrong("the folder's path is not absolute")),
            Some(("s3", _)) => Err(Error::unsupported(
                "stores in S3 are not supported yet",
                "Use file:///an/absolute/folder; a folder that a file system over the network keeps will do.",
            )),
            Some((scheme, _)) => Err(wrong(&format!("\"{scheme}\" is not known"))),
            None => Err(wrong("it has no \"://\"")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::File(folder) => write!(f, "file://{}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        let url = "file:///var/lib/tidemill";
        assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        for (url, why) in [
            ("file://data", "the folder's path is not absolute"),
            ("gs://bucket", "\"gs\" is not known"),
            ("/var/lib", "it has no \"://\""),
        ] {
            let error = StoreUrl::parse(url).unwrap_err();
            assert_eq!(error.message(), format!("\"{url}\" is no URL of a store: {why}"));
        }
    }
}
