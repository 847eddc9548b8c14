//! Filter expressions: comparisons of a column with a literal, tests for absence, `and`, `or`, `not`, parentheses.
//!
//! ```text
//! or      := and ("or" and)*
//! and     := unary ("and" unary)*
//! unary   := "not" unary | "(" or ")" | test
//! test    := column ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=") literal | column "is" ["not"] "null"
//! literal := number | 'text' | "text" | true | false
//! ```
//!
//! Columns are resolved and literals typed while parsing, so evaluation cannot fail. Logic has three values as in SQL: a
//! comparison with an absent value is unknown, and only what is true passes.

use std::cmp::Ordering;

use serde::Serialize;

use crate::value::{Column, Type, Value};

const MAX_TEXT: usize = 4096;
const MAX_DEPTH: usize = 32;

/// A checked filter over the columns it was parsed for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    IsNull { column: usize, negated: bool },
    Compare { column: usize, operator: Operator, literal: Value },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Expr {
    /// Parses an expression over `columns`; the error says what was expected where.
    pub(crate) fn parse(text: &str, columns: &[Column]) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("longer than {MAX_TEXT} bytes"));
        }
        let tokens = lex(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, columns };
        let expr = parser.or(0)?;
        match parser.peek() {
            None => Ok(expr),
            Some(token) => Err(format!("unexpected `{}`", token.show())),
        }
    }

    /// Returns whether `row` certainly satisfies the expression.
    pub(crate) fn accepts(&self, row: &[Value]) -> bool {
        self.evaluate(row) == Some(true)
    }

    fn evaluate(&self, row: &[Value]) -> Option<bool> {
        match self {
            Self::Or(parts) => {
                let mut unknown = false;
                for part in parts {
                    match part.evaluate(row) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                (!unknown).then_some(false)
            }
            Self::And(parts) => {
                let mut unknown = false;
                for part in parts {
                    match part.evaluate(row) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => unknown = true,
                    }
                }
                (!unknown).then_some(true)
            }
            Self::Not(inner) => inner.evaluate(row).map(|v| !v),
            Self::IsNull { column, negated } => Some(row.get(*column).is_none_or(Value::is_null) != *negated),
            Self::Compare { column, operator, literal } => match row.get(*column) {
                None | Some(Value::Null) => None,
                Some(value) => Some(operator.holds(value.cmp(literal))),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(String),
    Text(String),
    Symbol(&'static str),
}

impl Token {
    fn show(&self) -> &str {
        match self {
            Self::Word(text) | Self::Number(text) | Self::Text(text) => text,
            Self::Symbol(symbol) => symbol,
        }
    }
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => {
                let body = &rest[1..];
                let end =
                    body.find(first).ok_or_else(|| format!("text that starts at `{rest}` has no end"))?;
                tokens.push(Token::Text(body[..end].to_owned()));
                end + 2
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => {
                let end = 1 + rest[1..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
                tokens.push(Token::Number(rest[..end].to_owned()));
                end
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            _ => {
                let symbols = ["==", "!=", "<=", ">=", "=", "<", ">", "(", ")"];
                let symbol = symbols.into_iter().find(|s| rest.starts_with(s));
                let symbol = symbol.ok_or_else(|| format!("unexpected character `{first}`"))?;
                tokens.push(Token::Symbol(symbol));
                symbol.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    columns: &'a [Column],
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self, expected: &str) -> Result<Token, String> {
        let token =
            self.tokens.get(self.at).cloned().ok_or_else(|| format!("ends where {expected} is expected"))?;
        self.at += 1;
        Ok(token)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let mut parts = vec![self.and(depth)?];
        while self.take_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(single_or(parts, Expr::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Expr, String> {
        let mut parts = vec![self.unary(depth)?];
        while self.take_word("and") {
            parts.push(self.unary(depth)?);
        }
        Ok(single_or(parts, Expr::And))
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        if self.take_word("not") {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.peek() == Some(&Token::Symbol("(")) {
            self.at += 1;
            let inner = self.or(depth + 1)?;
            return match self.next("`)`")? {
                Token::Symbol(")") => Ok(inner),
                other => Err(format!("expected `)`, found `{}`", other.show())),
            };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expr, String> {
        let name = match self.next("a column")? {
            Token::Word(name) => name,
            other => return Err(format!("expected a column, found `{}`", other.show())),
        };
        let index = self.columns.iter().position(|c| c.name == name);
        let index = index.ok_or_else(|| format!("unknown column `{name}`{}", known(self.columns)))?;
        if self.take_word("is") {
            let negated = self.take_word("not");
            return if self.take_word("null") {
                Ok(Expr::IsNull { column: index, negated })
            } else {
                Err(format!("expected `null` after `{name} is`"))
            };
        }
        let operator = match self.next("a comparison")? {
            Token::Symbol("=" | "==") => Operator::Equal,
            Token::Symbol("!=") => Operator::NotEqual,
            Token::Symbol("<") => Operator::Less,
            Token::Symbol("<=") => Operator::LessOrEqual,
            Token::Symbol(">") => Operator::Greater,
            Token::Symbol(">=") => Operator::GreaterOrEqual,
            other => return Err(format!("expected a comparison after `{name}`, found `{}`", other.show())),
        };
        let token = self.next("a value")?;
        let kind = self.columns[index].kind;
        let literal = literal(&token, kind)
            .ok_or_else(|| format!("`{}` is no value for column `{name}` of type {kind}", token.show()))?;
        Ok(Expr::Compare { column: index, operator, literal })
    }
}

fn literal(token: &Token, kind: Type) -> Option<Value> {
    match (token, kind) {
        (Token::Text(text), Type::Text | Type::Time) => kind.parse(text),
        (Token::Number(text), Type::Int | Type::Decimal) => kind.parse(text),
        (Token::Word(word), Type::Bool) => match word.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

fn single_or(mut parts: Vec<Expr>, combine: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            combine(parts)
        }
        None => combine(parts),
    }
}

/// Names the columns that exist, for an error message.
pub(crate) fn known(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().take(30).map(|c| c.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(", known are {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns() -> Vec<Column> {
        [("carrier", Type::Text), ("delay", Type::Int), ("fare", Type::Decimal), ("late", Type::Bool)]
            .map(|(name, kind)| Column { name: name.to_owned(), kind })
            .to_vec()
    }

    #[test]
    fn three_valued_logic() {
        let row = [Value::Text("UA".into()), Value::Null, Value::Decimal(2_500_000), Value::Bool(true)];
        for (text, passes) in [
            ("carrier == 'UA'", true),
            ("carrier = \"AA\" or fare > 2.4", true),
            ("carrier == 'UA' and fare < 2.5", false),
            ("delay > 0", false),
            ("not delay > 0", false),
            ("delay is null", true),
            ("delay is not null", false),
            ("not (delay is not null) and late == true", true),
            ("delay > 0 or carrier != 'AA'", true),
            ("delay > 0 and carrier == 'UA'", false),
            ("carrier >= 'U' AND NOT late = false", true),
        ] {
            assert_eq!(Expr::parse(text, &columns()).unwrap().accepts(&row), passes, "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, message) in [
            ("", "ends where a column is expected"),
            ("carier == 'x'", "unknown column `carier`"),
            ("delay == 'x'", "`x` is no value for column `delay` of type int"),
            ("delay == 1.5", "`1.5` is no value"),
            ("delay == 1 1", "unexpected `1`"),
            ("delay", "ends where a comparison is expected"),
            ("delay is 5", "expected `null` after `delay is`"),
            ("(delay == 1", "ends where `)` is expected"),
            ("carrier == 'x", "has no end"),
            ("delay ? 1", "unexpected character `?`"),
        ] {
            let error = Expr::parse(text, &columns()).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        let deep = format!("{}delay == 1{}", "(".repeat(100), ")".repeat(100));
        assert!(Expr::parse(&deep, &columns()).unwrap_err().contains("nested deeper"));
        assert!(Expr::parse(&"not ".repeat(200), &columns()).unwrap_err().contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[a-z0-9 '\"()=<>!.é-]{0,60}") {
            let _ = Expr::parse(&text, &columns());
        }
    }
}
