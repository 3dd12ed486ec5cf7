//! Failures of a template, named as Python and jinja2 name them.

/// The exception that Python would have raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TemplateSyntaxError: the template does not parse.
    Syntax,
    /// TemplateAssertionError: it parses, but makes no sense.
    Compile,
    /// TemplateError, as raise_exception raises it: the template's own words.
    Template,
    Runtime,
    Undefined,
    Security,
    FilterArgument,
    Type,
    Value,
    Key,
    Index,
    ZeroDivision,
    Overflow,
    Attribute,
    Lookup,
    Recursion,
    Assertion,
    Unicode,
    /// A bound of ours that Python does not have: too many steps, too much text.
    Limit,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Syntax => "TemplateSyntaxError",
            Kind::Compile => "TemplateAssertionError",
            Kind::Template => "TemplateError",
            Kind::Runtime => "TemplateRuntimeError",
            Kind::Undefined => "UndefinedError",
            Kind::Security => "SecurityError",
            Kind::FilterArgument => "FilterArgumentError",
            Kind::Type => "TypeError",
            Kind::Value => "ValueError",
            Kind::Key => "KeyError",
            Kind::Index => "IndexError",
            Kind::ZeroDivision => "ZeroDivisionError",
            Kind::Overflow => "OverflowError",
            Kind::Attribute => "AttributeError",
            Kind::Lookup => "LookupError",
            Kind::Recursion => "RecursionError",
            Kind::Assertion => "AssertionError",
            Kind::Unicode => "UnicodeError",
            Kind::Limit => "LimitError",
        }
    }
}

#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// Line of the template, from 1; 0 while nobody has filled it in.
    pub line: u32,
}

/// Boxed, so that the results of every small step stay small.
pub type Res<T> = Result<T, Box<Error>>;

pub fn fail<T>(kind: Kind, message: impl Into<String>) -> Res<T> {
    Err(error(kind, message))
}

pub fn error(kind: Kind, message: impl Into<String>) -> Box<Error> {
    Box::new(Error { kind, message: message.into(), line: 0 })
}

pub fn fail_at<T>(kind: Kind, line: u32, message: impl Into<String>) -> Res<T> {
    Err(Box::new(Error { kind, message: message.into(), line }))
}

pub fn type_error<T>(message: impl Into<String>) -> Res<T> {
    fail(Kind::Type, message)
}

pub fn value_error<T>(message: impl Into<String>) -> Res<T> {
    fail(Kind::Value, message)
}
