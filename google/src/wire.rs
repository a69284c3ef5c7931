//! How Google's JSON is read: leniently where Google itself varies, strictly elsewhere.
//!
//! 64-bit numbers arrive as strings or as numbers, and lists without entries are left out (both observed). A reader
//! must not put the text of a JSON error into an error message: it may quote what somebody wrote.

use std::{fmt, marker::PhantomData, str::FromStr};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Visitor},
};

/// Reads a JSON document; the error says where and which kind of fault, without quoting.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let what = if text.starts_with("missing field") { text.as_str() } else { "unexpected JSON" };
        let place = format!("{:?} fault at line {} column {}", error.classify(), error.line(), error.column());
        if what == text { text } else { format!("{what}: {place}") }
    })
}

/// A whole number, written as a number or as a string.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error> {
    struct Whole<T>(PhantomData<T>);
    impl<T: FromStr> Visitor<'_> for Whole<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a whole number or a string of digits")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|_| E::custom("not a whole number in range"))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    from.deserialize_any(Whole(PhantomData))
}

/// As [`whole`], or nothing. To be used with `#[serde(default)]`.
pub(crate) fn maybe_whole<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<Option<T>, D::Error> {
    struct Either<T>(T);
    impl<'de, T: FromStr> Deserialize<'de> for Either<T> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            whole(from).map(Self)
        }
    }
    Ok(Option::<Either<T>>::deserialize(from)?.map(|either| either.0))
}

/// A whole number that may be missing and then counts as zero. To be used with `#[serde(default)]`.
pub(crate) fn whole_or_zero<'de, D: Deserializer<'de>, T: FromStr + Default>(from: D) -> Result<T, D::Error> {
    Ok(maybe_whole(from)?.unwrap_or_default())
}

/// `null` is read like a missing key. To be used with `#[serde(default)]`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Text, of which the empty one is none: an empty page token would page for ever. Nor is one with control characters,
/// which no database keeps. To be used with `#[serde(default)]`.
pub(crate) fn maybe_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let is_some = |text: &String| !text.is_empty() && !text.chars().any(char::is_control);
    Ok(Option::<String>::deserialize(from)?.filter(is_some))
}

/// An instant as milliseconds since 1970.
pub(crate) fn instant_ms<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    Timestamp::from_millisecond(whole(from)?).map_err(|_| de::Error::custom("not an instant in range"))
}

/// As [`instant_ms`], or nothing. To be used with `#[serde(default)]`.
pub(crate) fn maybe_instant_ms<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let instant = |ms| Timestamp::from_millisecond(ms).map_err(|_| de::Error::custom("not an instant in range"));
    maybe_whole(from)?.map(instant).transpose()
}

/// A truth value, written as such or as a string (OpenID providers differ). To be used with `#[serde(default)]`.
pub(crate) fn truth<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_bool().unwrap_or_else(|| value.as_str() == Some("true")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, PartialEq, Default)]
    struct Sample {
        #[serde(deserialize_with = "whole")]
        id: u64,
        #[serde(default, deserialize_with = "maybe_whole")]
        other: Option<i64>,
        #[serde(default, deserialize_with = "whole_or_zero")]
        size: u32,
        #[serde(default, deserialize_with = "or_default")]
        list: Vec<String>,
        #[serde(default, deserialize_with = "maybe_text")]
        token: Option<String>,
        #[serde(default, deserialize_with = "truth")]
        sure: bool,
    }

    #[test]
    fn numbers_are_read_from_both_shapes() {
        let id = |json: &str| parse::<Sample>(json.as_bytes()).map(|sample| sample.id);
        assert_eq!(id(r#"{"id":"18446744073709551615"}"#), Ok(u64::MAX));
        assert_eq!(id(r#"{"id":18446744073709551615}"#), Ok(u64::MAX));
        for bad in [r#"{"id":-1}"#, r#"{"id":"1e3"}"#, r#"{"id":1.5}"#, r#"{"id":""}"#, r#"{"id":null}"#] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_null_or_empty_has_a_meaning() {
        let bare = Sample { id: 1, ..Sample::default() };
        for json in [
            r#"{"id":1}"#,
            r#"{"id":1,"other":null,"size":null,"list":null,"token":null,"sure":null}"#,
            r#"{"id":1,"token":""}"#,
            r#"{"id":1,"token":"\u0000"}"#,
        ] {
            assert_eq!(parse::<Sample>(json.as_bytes()).as_ref(), Ok(&bare), "{json}");
        }
        let full =
            parse::<Sample>(br#"{"id":1,"other":"-5","size":"7","list":["a"],"token":"t","sure":"true"}"#).unwrap();
        assert_eq!((full.other, full.size, full.sure), (Some(-5), 7, true));
    }

    #[test]
    fn a_fault_never_quotes_the_document() {
        for json in [r#"{"id":"subject: secret plan"}"#, r#"{"id":1,"list":"secret plan"}"#, r#"secret plan"#] {
            let error = parse::<Sample>(json.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(parse::<Sample>(b"{}").unwrap_err().contains("missing field `id`"));
    }
}
