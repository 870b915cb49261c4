// SPDX-License-Identifier: GPL-3.0-or-later
//! What a client configuration token of a licence server says: a JSON web token (RFC 7519), whose signature only guests
//! can look at. Pure.

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;

/// What a token says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSays {
    /// The servers that guests will ask.
    pub servers: Vec<String>,
    /// When it ends; `None` when it does not say.
    pub expires: Option<Timestamp>,
}

/// Why a file is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// It is not three parts with points between them.
    #[error("it is no JSON web token (three parts with points between them)")]
    Form,
    /// Its middle part cannot be read.
    #[error("what it says cannot be read (no JSON in base64url)")]
    Content,
    /// It is a token for something else.
    #[error("it is a token for something else: it names no licence server")]
    NoServer,
}

/// Reads a token. The names of its fields are those of NVIDIA's licence system: `service_instance_configuration` with
/// `node_url_list`.
///
/// # Errors
/// When it is none.
pub fn parse(bytes: &[u8]) -> Result<TokenSays, NoToken> {
    let text = std::str::from_utf8(bytes).map_err(|_| NoToken::Form)?.trim();
    let parts: Vec<&str> = text.split('.').collect();
    let [_, middle, _] = parts.as_slice() else { return Err(NoToken::Form) };
    let json = Base64UrlUnpadded::decode_vec(middle.trim_end_matches('=')).map_err(|_| NoToken::Content)?;
    let said: serde_json::Value = serde_json::from_slice(&json).map_err(|_| NoToken::Content)?;
    let nodes = &said["service_instance_configuration"]["node_url_list"];
    let servers: Vec<String> = nodes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|n| n["url"].as_str())
        // Shown on a terminal.
        .map(|url| url.chars().filter(|c| !c.is_control()).take(200).collect())
        .collect();
    if servers.is_empty() {
        return Err(NoToken::NoServer);
    }
    let expires = said["exp"].as_i64().and_then(|s| Timestamp::from_second(s).ok());
    Ok(TokenSays { servers, expires })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn token(says: &serde_json::Value) -> Vec<u8> {
        let encode = |v: &serde_json::Value| Base64UrlUnpadded::encode_string(v.to_string().as_bytes());
        format!("{}.{}.{}", encode(&json!({"alg": "RS256"})), encode(says), "c2ln").into_bytes()
    }

    #[test]
    fn a_token_tells_its_servers_and_its_end() {
        let says = json!({
            "iss": "NLS Service Instance",
            "exp": 1_800_000_000,
            "service_instance_configuration": {"node_url_list": [{"idx": 0, "url": "dls.example"}]}
        });
        let read = parse(&token(&says)).unwrap();
        assert_eq!(read.servers, ["dls.example"]);
        assert_eq!(read.expires.unwrap().as_second(), 1_800_000_000);
    }

    #[test]
    fn what_is_no_token_is_refused_with_its_reason() {
        assert_eq!(parse(b"<html>404</html>"), Err(NoToken::Form));
        assert_eq!(parse(b"a.b!.c"), Err(NoToken::Content));
        assert_eq!(parse(&token(&json!({"sub": "me"}))), Err(NoToken::NoServer));
        assert_eq!(parse(b"\xff.\xfe.x"), Err(NoToken::Form));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
