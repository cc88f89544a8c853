use super::*;

fn value(json: &str) -> Vec<u8> {
    parse(json).unwrap_or_else(|e| panic!("{json}: {e}"))
}

fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    text(bytes, &mut out);
    out
}

/// Answers of PostgreSQL 17, but for the zeros at the end of numbers.
#[test]
fn normalised_as_postgresql_does() {
    for (json, expected) in [
        ("null", "null"),
        (" true ", "true"),
        ("\"a\\u0041\\n\\\"\\/\\ud83d\\ude00\"", "\"aA\\n\\\"/😀\""),
        ("[1,2 , [ ] ]", "[1, 2, []]"),
        ("{}", "{}"),
        (r#"{"b":1,"a":2,"aa":3,"b":4}"#, r#"{"a": 2, "b": 4, "aa": 3}"#),
        ("1.20e2", "120"),
        ("-0", "0"),
    ] {
        let bytes = value(json);
        assert_eq!(shown(&bytes), expected, "{json}");
        assert_eq!(value(&shown(&bytes)), bytes, "{json}");
    }
    let mut out = String::new();
    compact(&value(r#"{"a": [1, {"b": null}]}"#), &mut out);
    assert_eq!(out, r#"{"a":[1,{"b":null}]}"#);
}

#[test]
fn bytes_order_as_postgresql_orders_values() {
    let ascending = [
        "null",
        "\"\"",
        "\"a\"",
        "\"aa\"",
        "\"b\"",
        "-1",
        "0",
        "0.5",
        "10",
        "false",
        "true",
        "[]",
        "[null]",
        "[9]",
        "[1, 1]",
        "[1, 2]",
        "{}",
        r#"{"a": 1}"#,
        r#"{"a": 2}"#,
        r#"{"b": 0}"#,
        r#"{"aa": 0}"#,
        r#"{"a": 0, "b": 0}"#,
    ];
    for pair in ascending.windows(2) {
        assert!(value(pair[0]) < value(pair[1]), "{pair:?}");
    }
    assert_eq!(value("1.0"), value("1"));
    assert_eq!(value(r#"{"a":1,"b":2}"#), value(r#"{"b":2,"a":0,"a":1e0}"#));
}

#[test]
fn parts() {
    let bytes = value(r#"{"a": [1, "two", {"b": null}], "s": "x"}"#);
    let whole = Value::new(&bytes);
    let path = |steps: &[&str]| steps.iter().try_fold(whole, |value, step| value.step(step)).map(|v| shown(v.bytes()));
    assert_eq!(path(&["a", "0"]).as_deref(), Some("1"));
    assert_eq!(path(&["a", "-1", "b"]).as_deref(), Some("null"));
    assert_eq!(path(&["a", "3"]), None);
    assert_eq!(path(&["s", "x"]), None);
    assert_eq!(whole.field("s").and_then(Value::as_text).as_deref(), Some("x"));
    assert!(whole.has("a") && !whole.has("x"));
    assert_eq!(whole.type_name(), Some("object"));
}

#[test]
fn containment() {
    for (left, right, expected) in [
        (r#"{"a": 1, "b": 2}"#, r#"{"b": 2}"#, true),
        (r#"{"a": {"b": 1, "c": 2}}"#, r#"{"a": {"c": 2}}"#, true),
        (r#"{"a": {"b": 1}}"#, r#"{"b": 1}"#, false),
        ("[1, 2, 3]", "[3, 1, 1]", true),
        ("[1, [2, 3]]", "[[3]]", true),
        ("[1, [2, 3]]", "[2]", false),
        (r#"["foo", "bar"]"#, r#""bar""#, true),
        (r#""bar""#, r#"["bar"]"#, false),
        (r#"{"a": [1]}"#, r#"{"a": 1}"#, false),
        ("[[1]]", "1", false),
        (r#"[{"a": 1}]"#, r#"{"a": 1}"#, false),
        ("1", "1", true),
        ("{}", "[]", false),
        ("[]", "[]", true),
    ] {
        let (l, r) = (value(left), value(right));
        assert_eq!(Value::new(&l).contains(Value::new(&r)), expected, "{left} @> {right}");
    }
}

#[test]
fn what_is_not_json_is_told() {
    for (json, expected) in [
        ("", "The input string ended unexpectedly."),
        ("{", "The input string ended unexpectedly."),
        ("nul", "Token \"nul\" is invalid."),
        ("truex", "Token \"truex\" is invalid."),
        ("01", "Token \"01\" is invalid."),
        ("1.", "Token \"1.\" is invalid."),
        ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
        ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
        ("{1: 2}", "Expected string, but found \"1\"."),
        ("1 2", "Expected end of input, but found \"2\"."),
        ("\"a\nb\"", "Character with value 0x0a must be escaped."),
        ("\"\\x\"", "Escape sequence \"\\x\" is invalid."),
        ("\"\\u12\"", "\"\\u\" must be followed by four hexadecimal digits."),
        ("\"\\ud800\"", "Unicode high surrogate must be followed by a low surrogate."),
        ("\"\\udc00\"", "Unicode low surrogate must follow a high surrogate."),
        ("\"\\u0000\"", "\\u0000 cannot be converted to text."),
    ] {
        assert_eq!(parse(json).unwrap_err().detail(), Some(expected), "{json}");
    }
    let deep = "[".repeat(MAX_DEPTH + 2);
    assert_eq!(parse(&deep).unwrap_err().state().code(), "54001");
}

#[test]
fn damage_gives_no_value() {
    let bytes = value(r#"{"a": [1, "two"]}"#);
    for cut in 0..bytes.len() {
        let _ = shown(&bytes[..cut]);
        assert_eq!(Value::new(&bytes[..cut]).step("a").and_then(|a| a.step("1")), None, "cut at {cut}");
    }
}

/// Version 1 as it was first written. State holds it: a change here is a new version.
#[test]
fn version_1_fixture() {
    let hex = value(r#"{"a": [null, true, "x"], "b": -1.5}"#).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex, "0700000002000000016106000000030105027800000000016203017ffffffeefff");
}
