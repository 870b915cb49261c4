// SPDX-License-Identifier: GPL-3.0-or-later
//! The conditions of adaptations: names with `!`, `&&`, `||` and parentheses.
//!
//! ```text
//!   or  := and ( "||" and )*
//!   and := not ( "&&" not )*
//!   not := "!" not | "(" or ")" | name | "true" | "false"
//! ```

use std::collections::BTreeSet;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Always or never.
    Const(bool),
    /// A probe or a built-in word.
    Name(String),
    /// Not.
    Not(Box<Expr>),
    /// Both.
    And(Box<Expr>, Box<Expr>),
    /// At least one.
    Or(Box<Expr>, Box<Expr>),
}

/// A condition that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the condition `{text}` is wrong at character {at}: {why}")]
pub struct ExprError {
    /// The condition.
    pub text: String,
    /// Where, counted in characters from 1.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

/// Deepest nesting; no real condition comes near it.
const DEPTH: usize = 32;

impl Expr {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it does not follow the grammar above; the error says where.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0 };
        let result = parser.or(0).and_then(|expr| {
            parser.space();
            if parser.at == parser.chars.len() {
                Ok(expr)
            } else {
                Err("`&&`, `||` or the end is expected".into())
            }
        });
        result.map_err(|why| ExprError { text: text.to_owned(), at: parser.at + 1, why })
    }

    /// The names in it.
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Const(_) => BTreeSet::new(),
            Self::Name(name) => BTreeSet::from([name.as_str()]),
            Self::Not(e) => e.names(),
            Self::And(a, b) | Self::Or(a, b) => {
                let mut names = a.names();
                names.append(&mut b.names());
                names
            }
        }
    }

    /// Whether it holds; `value` knows the names.
    ///
    /// # Errors
    /// Whatever `value` returns for a name that it does not know.
    pub fn eval<E>(&self, value: &dyn Fn(&str) -> Result<bool, E>) -> Result<bool, E> {
        Ok(match self {
            Self::Const(b) => *b,
            Self::Name(name) => value(name)?,
            Self::Not(e) => !e.eval(value)?,
            Self::And(a, b) => a.eval(value)? && b.eval(value)?,
            Self::Or(a, b) => a.eval(value)? || b.eval(value)?,
        })
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Const(b) => write!(f, "{b}"),
            Self::Name(name) => f.write_str(name),
            Self::Not(e) => match e.as_ref() {
                Self::And(..) | Self::Or(..) => write!(f, "!({e})"),
                _ => write!(f, "!{e}"),
            },
            Self::And(a, b) => {
                for (i, e) in [a, b].into_iter().enumerate() {
                    let joint = if i == 1 { " && " } else { "" };
                    match e.as_ref() {
                        Self::Or(..) => write!(f, "{joint}({e})")?,
                        Self::And(..) if i == 1 => write!(f, "{joint}({e})")?,
                        _ => write!(f, "{joint}{e}")?,
                    }
                }
                Ok(())
            }
            Self::Or(a, b) => match b.as_ref() {
                Self::Or(..) => write!(f, "{a} || ({b})"),
                _ => write!(f, "{a} || {b}"),
            },
        }
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn space(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        self.space();
        let found = word.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        if found {
            self.at += word.chars().count();
        }
        found
    }

    fn or(&mut self, depth: usize) -> Result<Expr, String> {
        let mut expr = self.and(depth)?;
        while self.take("||") {
            expr = Expr::Or(Box::new(expr), Box::new(self.and(depth)?));
        }
        Ok(expr)
    }

    fn and(&mut self, depth: usize) -> Result<Expr, String> {
        let mut expr = self.not(depth)?;
        while self.take("&&") {
            expr = Expr::And(Box::new(expr), Box::new(self.not(depth)?));
        }
        Ok(expr)
    }

    fn not(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > DEPTH {
            return Err("it is nested too deep".into());
        }
        if self.take("!") {
            return Ok(Expr::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take("(") {
            let expr = self.or(depth + 1)?;
            return if self.take(")") { Ok(expr) } else { Err("`)` is expected".into()) };
        }
        self.space();
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
            self.at += 1;
        }
        let name: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        match name.as_str() {
            "" => Err("the name of a probe is expected".into()),
            "true" => Ok(Expr::Const(true)),
            "false" => Ok(Expr::Const(false)),
            _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
                self.at = start;
                Err("a name does not begin with a digit".into())
            }
            _ => Ok(Expr::Name(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(text: &str, yes: &[&str]) -> bool {
        Expr::parse(text).unwrap().eval::<()>(&|name| Ok(yes.contains(&name))).unwrap()
    }

    #[test]
    fn and_binds_closer_than_or_and_not_closest() {
        assert!(holds("a || b && c", &["a"]));
        assert!(!holds("(a || b) && c", &["a"]));
        assert!(holds("!a && b", &["b"]));
        assert!(!holds("!(a || b)", &["b"]));
        assert!(holds("true", &[]) && !holds("false || !true", &[]));
    }

    #[test]
    fn a_wrong_condition_says_where() {
        for (text, at) in [("", 1), ("a &&", 5), ("a b", 3), ("(a", 3), ("a & b", 3), ("!", 2), ("1a", 1)] {
            let e = Expr::parse(text).unwrap_err();
            assert_eq!(e.at, at, "{e}");
        }
        assert!(Expr::parse(&"(".repeat(100_000)).is_err());
        assert!(Expr::parse(&"!".repeat(100_000)).is_err());
    }

    #[test]
    fn a_name_that_nobody_knows_is_an_error() {
        let e = Expr::parse("known && other").unwrap();
        assert_eq!(e.names(), BTreeSet::from(["known", "other"]));
        assert_eq!(
            e.eval(&|n| if n == "known" { Ok(true) } else { Err(n.to_owned()) }),
            Err("other".to_owned())
        );
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        let leaf = prop_oneof![any::<bool>().prop_map(Expr::Const), "[a-d]x".prop_map(Expr::Name)];
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::And(Box::new(a), Box::new(b))),
                (inner.clone(), inner).prop_map(|(a, b)| Expr::Or(Box::new(a), Box::new(b))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same_condition(e in any_expr()) {
            prop_assert_eq!(Expr::parse(&e.to_string()).unwrap(), e);
        }

        #[test]
        fn any_text_never_panics(text in "\\PC{0,40}") {
            let _ = Expr::parse(&text);
        }
    }
}
