// SPDX-License-Identifier: GPL-3.0-or-later
//! One thing looked at: *could not look* (and why) is not *looked, and it is bad*.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing looked at. In JSON `{"seen": …}` or `{"could_not_look": "why"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Finding_{T}")]
pub enum Finding<T> {
    /// Looked, and this is there.
    Seen(T),
    /// Could not look.
    #[serde(with = "why_as_string")]
    #[schemars(with = "String")]
    CouldNotLook {
        /// Why, in a few words; ends with what to do where something can be done.
        why: String,
    },
}

mod why_as_string {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ptr_arg, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(why: &String, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(why)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

impl<T> Finding<T> {
    /// A finding that could not be made.
    pub fn unseen(why: impl Into<String>) -> Self {
        Self::CouldNotLook { why: why.into() }
    }

    /// What was seen, if one could look.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::CouldNotLook { .. } => None,
        }
    }

    /// What was seen, by value.
    pub fn into_seen(self) -> Option<T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::CouldNotLook { .. } => None,
        }
    }

    /// Why one could not look.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Seen(_) => None,
            Self::CouldNotLook { why } => Some(why),
        }
    }

    /// Whether one could look.
    pub fn is_seen(&self) -> bool {
        matches!(self, Self::Seen(_))
    }

    /// Changes what was seen.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Finding<U> {
        match self {
            Self::Seen(value) => Finding::Seen(f(value)),
            Self::CouldNotLook { why } => Finding::CouldNotLook { why },
        }
    }

    /// Goes on looking from what was seen.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Finding<U>) -> Finding<U> {
        match self {
            Self::Seen(value) => f(value),
            Self::CouldNotLook { why } => Finding::CouldNotLook { why },
        }
    }

    /// The same finding, by reference.
    pub fn as_ref(&self) -> Finding<&T> {
        match self {
            Self::Seen(value) => Finding::Seen(value),
            Self::CouldNotLook { why } => Finding::CouldNotLook { why: why.clone() },
        }
    }

    /// As a result whose error says why one could not look.
    ///
    /// # Errors
    /// The reason, when one could not look.
    pub fn as_result(&self) -> Result<&T, &str> {
        match self {
            Self::Seen(value) => Ok(value),
            Self::CouldNotLook { why } => Err(why),
        }
    }
}

impl Finding<bool> {
    /// Looked, and it is so. *Could not look* counts as no.
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Seen(true))
    }

    /// Looked, and it is not so. *Could not look* counts as no.
    pub fn is_false(&self) -> bool {
        matches!(self, Self::Seen(false))
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Finding<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Seen(value),
            Err(error) => Self::CouldNotLook { why: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn could_not_look_is_written_apart_from_what_was_seen() {
        let seen: Finding<Vec<u8>> = Finding::Seen(vec![]);
        let unseen: Finding<Vec<u8>> = Finding::unseen("no permission");
        assert_eq!(serde_json::to_string(&seen).unwrap(), r#"{"seen":[]}"#);
        assert_eq!(serde_json::to_string(&unseen).unwrap(), r#"{"could_not_look":"no permission"}"#);
        for finding in [seen, unseen] {
            let text = serde_json::to_string(&finding).unwrap();
            assert_eq!(serde_json::from_str::<Finding<Vec<u8>>>(&text).unwrap(), finding);
        }
    }

    #[test]
    fn could_not_look_is_neither_true_nor_false() {
        let unseen: Finding<bool> = Finding::unseen("x");
        assert!(!unseen.is_true() && !unseen.is_false());
    }
}
