//! Google's `fields` parameter: which parts of an answer the caller wants, for example
//! `nextPageToken,messages(id,payload/headers)`. A name that the answer's schema doesn't have is an error, as at
//! Google, so that a misspelt mask is found in a test and not in an empty column.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api_error::ApiError;

/// Deepest nesting of a selector.
const DEPTH_MAX: usize = 16;
/// Longest selector in bytes.
const BYTES_MAX: usize = 4_096;

/// One name of a schema and the names below it.
#[derive(Debug)]
pub(crate) struct Field {
    name: &'static str,
    inner: &'static [Field],
}

/// A field with fields of its own.
pub(crate) const fn nest(name: &'static str, inner: &'static [Field]) -> Field {
    Field { name, inner }
}

/// A field without.
pub(crate) const fn leaf(name: &'static str) -> Field {
    Field { name, inner: &[] }
}

/// What is wanted: `None` is everything below.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Selector {
    wanted: BTreeMap<String, Option<Selector>>,
}

impl Selector {
    /// Reads a selector against the schema of the answer.
    pub(crate) fn parse(text: &str, schema: &[Field]) -> Result<Selector, ApiError> {
        if text.len() > BYTES_MAX {
            return Err(invalid(text));
        }
        let mut rest = text;
        let selector = list(&mut rest, schema, 0).map_err(|at| invalid(&at))?;
        if rest.is_empty() { Ok(selector) } else { Err(invalid(rest)) }
    }

    /// The wanted parts of a value.
    pub(crate) fn apply(&self, value: Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.apply(item)).collect()),
            Value::Object(fields) => {
                let mut kept = Map::new();
                for (name, value) in fields {
                    match self.wanted.get(&name).or_else(|| self.wanted.get("*")) {
                        Some(Some(inner)) => kept.insert(name, inner.apply(value)),
                        Some(None) => kept.insert(name, value),
                        None => None,
                    };
                }
                Value::Object(kept)
            }
            other => other,
        }
    }

    fn want(&mut self, name: &str, inner: Option<Selector>) {
        match (self.wanted.get_mut(name), inner) {
            (Some(Some(known)), Some(more)) => {
                for (name, inner) in more.wanted {
                    known.want(&name, inner);
                }
            }
            (Some(known), None) => *known = None,
            (Some(None), Some(_)) => {}
            (None, inner) => {
                self.wanted.insert(name.to_owned(), inner);
            }
        }
    }
}

fn invalid(at: &str) -> ApiError {
    let shown: String = at.chars().take(100).collect();
    ApiError::invalid_argument(format!("Invalid field selection {shown}"))
}

fn list(rest: &mut &str, schema: &[Field], depth: usize) -> Result<Selector, String> {
    let mut selector = Selector::default();
    loop {
        let (name, inner) = item(rest, schema, depth)?;
        selector.want(&name, inner);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Ok(selector),
        }
    }
}

/// One name with what follows it: `name`, `name/inner` or `name(inner,inner)`.
fn item(rest: &mut &str, schema: &[Field], depth: usize) -> Result<(String, Option<Selector>), String> {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '*' && letter != '_');
    let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
    let known = schema.iter().find(|field| field.name == name);
    if depth > DEPTH_MAX || name.is_empty() || (known.is_none() && name != "*") {
        return Err((*rest).to_owned());
    }
    let inner_schema = known.map_or(&[] as &[Field], |field| field.inner);
    *rest = after;
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        let (inner_name, inner) = item(rest, inner_schema, depth + 1)?;
        let mut selector = Selector::default();
        selector.want(&inner_name, inner);
        return Ok((name.to_owned(), Some(selector)));
    }
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let selector = list(rest, inner_schema, depth + 1)?;
        *rest = rest.strip_prefix(')').ok_or_else(|| (*rest).to_owned())?;
        return Ok((name.to_owned(), Some(selector)));
    }
    Ok((name.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static SCHEMA: &[Field] = &[
        leaf("token"),
        nest("items", &[leaf("id"), nest("payload", &[nest("headers", &[leaf("name"), leaf("value")]), leaf("size")])]),
    ];

    fn applied(text: &str) -> Result<Value, ApiError> {
        let value = json!({"token": "t", "items": [
            {"id": 1, "payload": {"headers": [{"name": "a", "value": "b"}], "size": 3}},
            {"id": 2},
        ]});
        Selector::parse(text, SCHEMA).map(|selector| selector.apply(value))
    }

    #[test]
    fn names_paths_and_groups() {
        assert_eq!(applied("token").unwrap(), json!({"token": "t"}));
        assert_eq!(applied("items/id").unwrap(), json!({"items": [{"id": 1}, {"id": 2}]}));
        assert_eq!(
            applied("token,items(id,payload/headers/name)").unwrap(),
            json!({"token": "t", "items": [{"id": 1, "payload": {"headers": [{"name": "a"}]}}, {"id": 2}]})
        );
        assert_eq!(
            applied("items/id,items/payload/size").unwrap(),
            json!({"items": [{"id": 1, "payload": {"size": 3}}, {"id": 2}]})
        );
        assert_eq!(applied("*").unwrap()["items"][0]["id"], 1);
        assert_eq!(applied("items,items/id").unwrap()["items"][0]["payload"]["size"], 3);
    }

    #[test]
    fn what_the_schema_does_not_have_is_refused() {
        for wrong in ["", "tokens", "items(id", "items(id))", "items/nope", "token/id", "items,", ",", "items (id)"] {
            assert_eq!(applied(wrong).unwrap_err().code, 400, "{wrong}");
        }
        assert!(applied(&"(".repeat(5_000)).is_err());
        assert!(applied(&"*/".repeat(500)).is_err());
    }
}
