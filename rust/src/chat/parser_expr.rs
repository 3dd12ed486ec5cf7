//! Expressions of the template language.

use std::sync::Arc;

use super::ast::*;
use super::error::{fail_at, Kind, Res};
use super::lexer::{describe, Tok};
use super::parser::{set_ctx, Parser};
use super::repr::repr_str;
use super::value::PyStr;

fn make(line: u32, kind: ExprKind) -> Expr {
    Expr { line, kind }
}

impl Parser {
    pub fn parse_expression(&mut self, with_condexpr: bool) -> Res<Expr> {
        self.enter()?;
        let expr = if with_condexpr { self.parse_condexpr() } else { self.parse_or() };
        self.leave();
        expr
    }

    fn parse_condexpr(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut expr = self.parse_or()?;
        while self.skip_name("if") {
            let test = self.parse_or()?;
            let other = if self.skip_name("else") {
                self.enter()?;
                let other = self.parse_condexpr()?;
                self.leave();
                Some(Box::new(other))
            } else {
                None
            };
            expr = make(line, ExprKind::Cond(Box::new(test), Box::new(expr), other));
            line = self.line();
        }
        Ok(expr)
    }

    fn parse_or(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.parse_and()?;
        while self.skip_name("or") {
            let right = self.parse_and()?;
            left = make(line, ExprKind::Or(Box::new(left), Box::new(right)));
            line = self.line();
        }
        Ok(left)
    }

    fn parse_and(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.parse_not()?;
        while self.skip_name("and") {
            let right = self.parse_not()?;
            left = make(line, ExprKind::And(Box::new(left), Box::new(right)));
            line = self.line();
        }
        Ok(left)
    }

    fn parse_not(&mut self) -> Res<Expr> {
        let line = self.line();
        if self.skip_name("not") {
            self.enter()?;
            let inner = self.parse_not()?;
            self.leave();
            return Ok(make(line, ExprKind::Not(Box::new(inner))));
        }
        self.parse_compare()
    }

    fn parse_compare(&mut self) -> Res<Expr> {
        let line = self.line();
        let expr = self.parse_math1()?;
        let mut ops = vec![];
        loop {
            let op = match self.peek() {
                Tok::Op("==") => CmpOp::Eq,
                Tok::Op("!=") => CmpOp::Ne,
                Tok::Op("<") => CmpOp::Lt,
                Tok::Op("<=") => CmpOp::Le,
                Tok::Op(">") => CmpOp::Gt,
                Tok::Op(">=") => CmpOp::Ge,
                Tok::Name(name) if name.text == "in" => CmpOp::In,
                Tok::Name(name) if name.text == "not" => match self.look() {
                    Tok::Name(next) if next.text == "in" => {
                        self.next();
                        CmpOp::NotIn
                    }
                    _ => break,
                },
                _ => break,
            };
            self.next();
            ops.push((op, self.parse_math1()?));
        }
        if ops.is_empty() {
            return Ok(expr);
        }
        Ok(make(line, ExprKind::Compare(Box::new(expr), ops)))
    }

    fn parse_math1(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.parse_concat()?;
        loop {
            let op = match self.peek() {
                Tok::Op("+") => BinOp::Add,
                Tok::Op("-") => BinOp::Sub,
                _ => return Ok(left),
            };
            self.next();
            let right = self.parse_concat()?;
            left = make(line, ExprKind::Binary(op, Box::new(left), Box::new(right)));
            line = self.line();
        }
    }

    fn parse_concat(&mut self) -> Res<Expr> {
        let line = self.line();
        let first = self.parse_math2()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.parse_math2()?);
        }
        Ok(make(line, ExprKind::Concat(parts)))
    }

    fn parse_math2(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.parse_pow()?;
        loop {
            let op = match self.peek() {
                Tok::Op("*") => BinOp::Mul,
                Tok::Op("/") => BinOp::Div,
                Tok::Op("//") => BinOp::FloorDiv,
                Tok::Op("%") => BinOp::Mod,
                _ => return Ok(left),
            };
            self.next();
            let right = self.parse_pow()?;
            left = make(line, ExprKind::Binary(op, Box::new(left), Box::new(right)));
            line = self.line();
        }
    }

    fn parse_pow(&mut self) -> Res<Expr> {
        let mut line = self.line();
        let mut left = self.parse_unary(true)?;
        while self.skip_op("**") {
            let right = self.parse_unary(true)?;
            left = make(line, ExprKind::Binary(BinOp::Pow, Box::new(left), Box::new(right)));
            line = self.line();
        }
        Ok(left)
    }

    fn parse_unary(&mut self, with_filter: bool) -> Res<Expr> {
        let line = self.line();
        self.enter()?;
        let node = if self.skip_op("-") {
            make(line, ExprKind::Neg(Box::new(self.parse_unary(false)?)))
        } else if self.skip_op("+") {
            make(line, ExprKind::Pos(Box::new(self.parse_unary(false)?)))
        } else {
            self.parse_primary(false)?
        };
        let node = self.parse_postfix(node)?;
        let node = if with_filter { self.parse_filter_expr(node)? } else { node };
        self.leave();
        Ok(node)
    }

    fn parse_primary(&mut self, with_namespace: bool) -> Res<Expr> {
        let token = self.next();
        let line = token.line;
        let kind = match token.tok {
            Tok::Name(name) => match name.text.as_str() {
                "true" | "True" => ExprKind::Const(Const::Bool(true)),
                "false" | "False" => ExprKind::Const(Const::Bool(false)),
                "none" | "None" => ExprKind::Const(Const::None),
                _ if with_namespace && self.skip_op(".") => {
                    let attr = self.expect_name()?;
                    ExprKind::NsRef(Name { name, ctx: Ctx::Load, var: Var::default() }, attr)
                }
                _ => ExprKind::Name(Name { name, ctx: Ctx::Load, var: Var::default() }),
            },
            Tok::Str(first) => {
                if !matches!(self.peek(), Tok::Str(_)) {
                    return Ok(make(line, ExprKind::Const(Const::Str(first))));
                }
                let mut text = first.text.clone();
                while let Tok::Str(more) = self.peek().clone() {
                    text.push_str(&more.text);
                    self.next();
                }
                ExprKind::Const(Const::Str(Arc::new(PyStr::new(text))))
            }
            Tok::Integer(value) => ExprKind::Const(value),
            Tok::Float(value) => ExprKind::Const(Const::Float(value)),
            Tok::Op("(") => {
                let inner = self.parse_tuple(true, &[], true)?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Tok::Op("[") => {
                let mut items = vec![];
                while !self.is_op("]") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                    }
                    if self.is_op("]") {
                        break;
                    }
                    items.push(self.parse_expression(true)?);
                }
                self.expect_op("]")?;
                ExprKind::List(items)
            }
            Tok::Op("{") => {
                let mut items = vec![];
                while !self.is_op("}") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                    }
                    if self.is_op("}") {
                        break;
                    }
                    let key = self.parse_expression(true)?;
                    self.expect_op(":")?;
                    items.push((key, self.parse_expression(true)?));
                }
                self.expect_op("}")?;
                ExprKind::Dict(items)
            }
            other => {
                let message = format!("unexpected {}", repr_str(&describe(&other)));
                return fail_at(Kind::Syntax, line, message);
            }
        };
        Ok(make(line, kind))
    }

    fn is_tuple_end(&self, ends: &[&str]) -> bool {
        matches!(self.peek(), Tok::VariableEnd | Tok::BlockEnd | Tok::Op(")"))
            || ends.iter().any(|end| self.is_name(end))
    }

    /// One expression, or several with commas between: a tuple.
    pub fn parse_tuple(
        &mut self,
        with_condexpr: bool,
        ends: &[&str],
        parenthesized: bool,
    ) -> Res<Expr> {
        self.parse_tuple_of(ends, parenthesized, |parser| parser.parse_expression(with_condexpr))
    }

    fn parse_tuple_of(
        &mut self,
        ends: &[&str],
        parenthesized: bool,
        parse: impl Fn(&mut Parser) -> Res<Expr>,
    ) -> Res<Expr> {
        let mut line = self.line();
        let mut items: Vec<Expr> = vec![];
        let mut is_tuple = false;
        loop {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.is_tuple_end(ends) {
                break;
            }
            items.push(parse(self)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
            line = self.line();
        }
        if !is_tuple {
            if let Some(single) = items.pop() {
                return Ok(single);
            }
            if !parenthesized {
                let got = repr_str(&describe(self.peek()));
                return self.fail(format!("Expected an expression, got {got}"));
            }
        }
        Ok(make(line, ExprKind::Tuple(items)))
    }

    pub fn parse_name_target(&mut self, ctx: Ctx) -> Res<Name> {
        let line = self.line();
        let name = self.expect_name()?;
        check_assignable(&name, line)?;
        Ok(Name { name, ctx, var: Var::default() })
    }

    /// A name, a tuple of names, or attributes of namespaces where those are allowed.
    pub fn parse_target(&mut self, ends: &[&str], with_namespace: bool) -> Res<Expr> {
        let mut target =
            self.parse_tuple_of(ends, false, |parser| parser.parse_primary(with_namespace))?;
        set_ctx(&mut target, Ctx::Store);
        check_target(&target)?;
        Ok(target)
    }

    fn parse_postfix(&mut self, mut node: Expr) -> Res<Expr> {
        loop {
            node = match self.peek() {
                Tok::Op("." | "[") => self.parse_subscript(node)?,
                Tok::Op("(") => self.parse_call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn parse_filter_expr(&mut self, mut node: Expr) -> Res<Expr> {
        loop {
            node = match self.peek() {
                Tok::Op("|") => match self.parse_filter(Some(node), false)? {
                    Some(filtered) => filtered,
                    None => return self.unexpected("name"),
                },
                Tok::Name(name) if name.text == "is" => self.parse_test(node)?,
                Tok::Op("(") => self.parse_call(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn parse_subscript(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        let node = Box::new(node);
        if self.skip_op(".") {
            let token = self.next();
            return match token.tok {
                Tok::Name(name) => Ok(make(line, ExprKind::Getattr(node, name))),
                Tok::Integer(value) => {
                    let index = Box::new(make(token.line, ExprKind::Const(value)));
                    Ok(make(line, ExprKind::Getitem(node, index)))
                }
                _ => fail_at(Kind::Syntax, token.line, "expected name or number"),
            };
        }
        self.expect_op("[")?;
        let mut args = vec![];
        while !self.is_op("]") {
            if !args.is_empty() {
                self.expect_op(",")?;
            }
            args.push(self.parse_subscribed()?);
        }
        self.expect_op("]")?;
        let arg = if args.len() == 1 { args.remove(0) } else { make(line, ExprKind::Tuple(args)) };
        Ok(make(line, ExprKind::Getitem(node, Box::new(arg))))
    }

    fn parse_subscribed(&mut self) -> Res<Expr> {
        let line = self.line();
        let mut parts = [None, None, None];
        if !self.is_op(":") {
            let first = self.parse_expression(true)?;
            if !self.is_op(":") {
                return Ok(first);
            }
            parts[0] = Some(Box::new(first));
        }
        self.next();
        if !self.is_op(":") && !self.is_op("]") && !self.is_op(",") {
            parts[1] = Some(Box::new(self.parse_expression(true)?));
        }
        if self.skip_op(":") && !self.is_op("]") && !self.is_op(",") {
            parts[2] = Some(Box::new(self.parse_expression(true)?));
        }
        Ok(make(line, ExprKind::Slice(parts)))
    }

    fn parse_call_args(&mut self) -> Res<Args> {
        let line = self.line();
        self.expect_op("(")?;
        let mut args = Args::default();
        let ensure = |ok: bool| match ok {
            true => Ok(()),
            false => fail_at(Kind::Syntax, line, "invalid syntax for function call expression"),
        };
        let mut first = true;
        while !self.is_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            first = false;
            if self.skip_op("*") {
                ensure(args.dyn_positional.is_none() && args.dyn_keyword.is_none())?;
                args.dyn_positional = Some(Box::new(self.parse_expression(true)?));
            } else if self.skip_op("**") {
                ensure(args.dyn_keyword.is_none())?;
                args.dyn_keyword = Some(Box::new(self.parse_expression(true)?));
            } else if let (Tok::Name(key), Tok::Op("=")) = (self.peek().clone(), self.look()) {
                ensure(args.dyn_keyword.is_none())?;
                self.next();
                self.next();
                let repeated = args.keyword.iter().any(|(earlier, _)| *earlier == key);
                if repeated {
                    return self.fail(format!("keyword argument repeated: {}", key.text));
                }
                args.keyword.push((key, self.parse_expression(true)?));
            } else {
                let plain = args.dyn_positional.is_none() && args.dyn_keyword.is_none();
                ensure(plain && args.keyword.is_empty())?;
                args.positional.push(self.parse_expression(true)?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn parse_call(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        let args = self.parse_call_args()?;
        Ok(make(line, ExprKind::Call(Box::new(node), args)))
    }

    fn parse_dotted_name(&mut self) -> Res<Arc<PyStr>> {
        let mut name = self.expect_name()?;
        while self.skip_op(".") {
            let more = self.expect_name()?;
            name = Arc::new(PyStr::new(format!("{}.{}", name.text, more.text)));
        }
        Ok(name)
    }

    /// A chain of filters behind `node`; `start_inline` for a filter block, without the first bar.
    pub fn parse_filter(&mut self, node: Option<Expr>, start_inline: bool) -> Res<Option<Expr>> {
        let mut node = node;
        let mut inline = start_inline;
        while inline || self.is_op("|") {
            if !inline {
                self.next();
            }
            inline = false;
            let line = self.line();
            let name = self.parse_dotted_name()?;
            let args = if self.is_op("(") { self.parse_call_args()? } else { Args::default() };
            node = Some(make(line, ExprKind::Filter(node.map(Box::new), name, args, None)));
        }
        Ok(node)
    }

    fn parse_test(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.parse_dotted_name()?;
        let mut args = Args::default();
        match self.peek() {
            Tok::Op("(") => args = self.parse_call_args()?,
            Tok::Name(word) if matches!(word.text.as_str(), "else" | "or" | "and") => {}
            Tok::Name(word) if word.text == "is" => {
                return self.fail("You cannot chain multiple tests with is");
            }
            Tok::Name(_) | Tok::Str(_) | Tok::Integer(_) | Tok::Float(_) | Tok::Op("[" | "{") => {
                let arg = self.parse_primary(false)?;
                args.positional.push(self.parse_postfix(arg)?);
            }
            _ => {}
        }
        let test = make(line, ExprKind::Test(Box::new(node), name, args, None));
        Ok(if negated { make(line, ExprKind::Not(Box::new(test))) } else { test })
    }
}

fn check_assignable(name: &PyStr, line: u32) -> Res<()> {
    if matches!(name.text.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
        return fail_at(Kind::Syntax, line, "can't assign to 'name'");
    }
    Ok(())
}

fn check_target(target: &Expr) -> Res<()> {
    let kind = match &target.kind {
        ExprKind::Name(_) | ExprKind::NsRef(..) => return Ok(()),
        ExprKind::Tuple(items) => return items.iter().try_for_each(check_target),
        ExprKind::Const(_) => "const",
        ExprKind::List(_) => "list",
        ExprKind::Dict(_) => "dict",
        _ => "expr",
    };
    fail_at(Kind::Syntax, target.line, format!("can't assign to '{kind}'"))
}
