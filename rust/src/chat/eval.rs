//! Evaluates expressions.

use std::rc::Rc;

use super::access;
use super::ast::*;
use super::call::CallArgs;
use super::error::{fail, type_error, Kind, Res};
use super::iter;
use super::ops;
use super::repr::{repr_str, to_text};
use super::runtime::{Interp, Scope};
use super::value::{type_name, Dict, Value};

fn constant(value: &Const) -> Value {
    match value {
        Const::None => Value::None,
        Const::Bool(b) => Value::Bool(*b),
        Const::Int(i) => Value::Int(*i),
        Const::Big(b) => Value::Big(Rc::new(b.clone())),
        Const::Float(f) => Value::Float(*f),
        Const::Str(text) => Value::Str(text.clone()),
    }
}

/// Whether jinja2 would have computed the expression when it compiled the template.
fn is_folded(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Const(_) => true,
        ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items) => {
            items.iter().all(is_folded)
        }
        ExprKind::Dict(items) => {
            items.iter().all(|(key, value)| is_folded(key) && is_folded(value))
        }
        ExprKind::Neg(a) | ExprKind::Pos(a) | ExprKind::Not(a) => is_folded(a),
        ExprKind::And(a, b) | ExprKind::Or(a, b) | ExprKind::Binary(_, a, b) => {
            is_folded(a) && is_folded(b)
        }
        _ => false,
    }
}

impl Interp {
    pub fn eval(&mut self, expr: &Expr, scope: &Scope) -> Res<Value> {
        self.budget.step()?;
        self.eval_kind(expr, scope).map_err(|mut error| {
            if error.line == 0 {
                error.line = expr.line;
            }
            error
        })
    }

    fn eval_all(&mut self, exprs: &[Expr], scope: &Scope) -> Res<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn eval_kind(&mut self, expr: &Expr, scope: &Scope) -> Res<Value> {
        match &expr.kind {
            ExprKind::Const(value) => Ok(constant(value)),
            ExprKind::Data(text) => Ok(Value::Str(text.clone())),
            ExprKind::Name(name) | ExprKind::NsRef(name, _) => {
                Ok(scope.get(name.var).unwrap_or_else(|| Value::undefined_name(&name.name.text)))
            }
            ExprKind::Tuple(items) => Ok(Value::tuple(self.eval_all(items, scope)?)),
            ExprKind::List(items) => Ok(Value::list(self.eval_all(items, scope)?)),
            ExprKind::Dict(items) => {
                let mut dict = Dict::default();
                for (key, value) in items {
                    let key = self.eval(key, scope)?;
                    let value = self.eval(value, scope)?;
                    dict.insert(key, value)?;
                }
                Ok(Value::dict(dict))
            }
            ExprKind::Neg(a) => {
                let a = self.eval(a, scope)?;
                ops::negate(&a)
            }
            ExprKind::Pos(a) => {
                let a = self.eval(a, scope)?;
                ops::plus(&a)
            }
            ExprKind::Not(a) => Ok(Value::Bool(!self.eval(a, scope)?.truth())),
            ExprKind::And(a, b) => {
                let left = self.eval(a, scope)?;
                if left.truth() {
                    self.eval(b, scope)
                } else {
                    Ok(left)
                }
            }
            ExprKind::Or(a, b) => {
                let left = self.eval(a, scope)?;
                if left.truth() {
                    Ok(left)
                } else {
                    self.eval(b, scope)
                }
            }
            ExprKind::Binary(op, a, b) => {
                let left = self.eval(a, scope)?;
                let right = self.eval(b, scope)?;
                if *op == BinOp::Pow && is_folded(a) && !is_folded(b) && ops::is_negative(&left) {
                    // In the Python that jinja2 writes, -3 ** x is -(3 ** x).
                    let power = ops::binary(self, *op, &ops::negate(&left)?, &right)?;
                    return ops::negate(&power);
                }
                ops::binary(self, *op, &left, &right)
            }
            ExprKind::Concat(parts) => self.eval_concat(parts, scope),
            ExprKind::Compare(first, rest) => {
                let mut left = self.eval(first, scope)?;
                let mut result = Value::Bool(true);
                for (op, operand) in rest {
                    let right = self.eval(operand, scope)?;
                    result = Value::Bool(ops::compare(self, *op, &left, &right)?);
                    if !result.truth() {
                        break;
                    }
                    left = right;
                }
                Ok(result)
            }
            ExprKind::Getattr(object, name) => {
                let object = self.eval(object, scope)?;
                access::getattr(self, &object, name)
            }
            ExprKind::Getitem(object_expr, key) => {
                let object = self.eval(object_expr, scope)?;
                if let ExprKind::Slice(parts) = &key.kind {
                    // Slices that fail are errors, but undefined where jinja2 folds constants.
                    let folded = is_folded(object_expr)
                        && parts.iter().flatten().all(|part| is_folded(part));
                    let parts = self.eval_slice(parts, scope)?;
                    if folded {
                        return access::getitem(self, &object, &Value::Slice(Rc::new(parts)));
                    }
                    return access::slice(self, &object, &parts);
                }
                let key = self.eval(key, scope)?;
                access::getitem(self, &object, &key)
            }
            ExprKind::Slice(parts) => Ok(Value::Slice(Rc::new(self.eval_slice(parts, scope)?))),
            ExprKind::Call(..) => self.eval_call(expr, None, scope),
            ExprKind::Filter(operand, ..) => {
                let value = match operand {
                    Some(operand) => self.eval(operand, scope)?,
                    None => Value::str(""),
                };
                self.apply_filter(expr, value, scope)
            }
            ExprKind::Test(operand, name, args, function) => {
                let value = self.eval(operand, scope)?;
                let args = self.eval_args(args, scope)?;
                match function {
                    Some(function) => Ok(Value::Bool(function(self, value, args)?)),
                    None => fail(
                        Kind::Runtime,
                        format!("No test named {} found.", repr_str(&name.text)),
                    ),
                }
            }
            ExprKind::Cond(test, a, b) => {
                if self.eval(test, scope)?.truth() {
                    return self.eval(a, scope);
                }
                match b {
                    Some(b) => self.eval(b, scope),
                    None => Ok(Value::undefined(format!(
                        "the inline if-expression on line {} evaluated to false and no else section \
                         was defined.",
                        expr.line
                    ))),
                }
            }
        }
    }

    fn eval_slice(&mut self, parts: &[Option<Box<Expr>>; 3], scope: &Scope) -> Res<[Value; 3]> {
        let mut values = [Value::None, Value::None, Value::None];
        for (value, part) in values.iter_mut().zip(parts) {
            if let Some(part) = part {
                *value = self.eval(part, scope)?;
            }
        }
        Ok(values)
    }

    fn eval_concat(&mut self, parts: &[Expr], scope: &Scope) -> Res<Value> {
        let values = self.eval_all(parts, scope)?;
        let markup = self.autoescape && values.iter().any(Value::is_markup);
        let mut text = String::new();
        for value in &values {
            let part = if markup && !value.is_markup() {
                let escaped = super::html::escape(self, value)?;
                to_text(self, &escaped)?
            } else {
                to_text(self, value)?
            };
            self.budget.room(text.len() + part.len())?;
            text.push_str(&part);
        }
        Ok(Value::text(text, markup))
    }

    /// A filter over a value that is already there; `expr` is the filter.
    fn apply_filter(&mut self, expr: &Expr, value: Value, scope: &Scope) -> Res<Value> {
        let ExprKind::Filter(_, name, args, function) = &expr.kind else { return Ok(value) };
        let args = self.eval_args(args, scope)?;
        match function {
            Some(function) => function(self, value, args),
            None => fail(Kind::Runtime, format!("No filter named {} found.", repr_str(&name.text))),
        }
    }

    /// A chain of filters whose innermost operand is a captured text.
    pub fn eval_filter_chain(&mut self, expr: &Expr, text: Value, scope: &Scope) -> Res<Value> {
        let ExprKind::Filter(operand, ..) = &expr.kind else { return Ok(text) };
        let value = match operand {
            Some(operand) => self.eval_filter_chain(operand, text, scope)?,
            None => text,
        };
        self.apply_filter(expr, value, scope)
    }

    pub fn eval_args(&mut self, args: &Args, scope: &Scope) -> Res<CallArgs> {
        let mut call =
            CallArgs { positional: self.eval_all(&args.positional, scope)?, keyword: vec![] };
        if let Some(more) = &args.dyn_positional {
            let more = self.eval(more, scope)?;
            if !iter::is_iterable(&more) {
                let name = type_name(&more);
                return type_error(format!("Value after * must be an iterable, not {name}"));
            }
            call.positional.extend(iter::collect(self, &more)?);
        }
        for (name, value) in &args.keyword {
            let value = self.eval(value, scope)?;
            call.keyword.push((name.clone(), value));
        }
        if let Some(more) = &args.dyn_keyword {
            let more = self.eval(more, scope)?;
            let Value::Dict(dict) = &more else {
                let name = type_name(&more);
                return type_error(format!("argument after ** must be a mapping, not {name}"));
            };
            for (key, value) in dict.items() {
                let Some(name) = key.as_str() else {
                    return type_error("keywords must be strings");
                };
                if call.keyword.iter().any(|(known, _)| known == name) {
                    let name = repr_str(&name.text);
                    return type_error(format!("got multiple values for keyword argument {name}"));
                }
                call.keyword.push((name.clone(), value.clone()));
            }
        }
        Ok(call)
    }

    pub fn eval_call(&mut self, expr: &Expr, caller: Option<Value>, scope: &Scope) -> Res<Value> {
        let ExprKind::Call(function, args) = &expr.kind else { return type_error("expected call") };
        let function = self.eval(function, scope)?;
        let mut args = self.eval_args(args, scope)?;
        if let Some(caller) = caller {
            args.keyword.push((super::call::caller_name(), caller));
        }
        self.call_value(&function, args).map_err(|mut error| {
            if error.line == 0 {
                error.line = expr.line;
            }
            error
        })
    }
}
