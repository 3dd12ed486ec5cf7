//! For loops and the `loop` object.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::For;
use super::error::{type_error, Res};
use super::iter::{self, make, IterObject, PyIter, VecIter};
use super::ops;
use super::runtime::{Context, Flow, Interp, Scope};
use super::value::Value;

pub struct LoopState {
    inner: RefCell<Inner>,
    pub depth0: i64,
    /// For `loop(...)`: the loop and where it stands.
    recursion: Option<Recursion>,
}

#[derive(Clone)]
struct Recursion {
    node: Arc<For>,
    scope: Scope,
    context: Rc<Context>,
}

struct Inner {
    source: Value,
    iter: Rc<IterObject>,
    index0: i64,
    length: Option<i64>,
    /// One item ahead, once somebody has asked; the inner none is the end.
    after: Option<Option<Value>>,
    current: Option<Value>,
    before: Option<Value>,
    changed: Option<Value>,
}

/// The next item, and the loop moved on to it.
pub fn advance(interp: &mut Interp, state: &LoopState) -> Res<Option<Value>> {
    let ahead = state.inner.borrow_mut().after.take();
    let item = match ahead {
        Some(Some(item)) => Some(item),
        _ => {
            let iter = state.inner.borrow().iter.clone();
            iter.next(interp)?
        }
    };
    if let Some(item) = &item {
        let mut inner = state.inner.borrow_mut();
        inner.index0 += 1;
        inner.before = inner.current.replace(item.clone());
    }
    Ok(item)
}

fn peek(interp: &mut Interp, state: &LoopState) -> Res<Option<Value>> {
    if let Some(Some(item)) = &state.inner.borrow().after {
        return Ok(Some(item.clone()));
    }
    let iter = state.inner.borrow().iter.clone();
    let item = iter.next(interp)?;
    state.inner.borrow_mut().after = Some(item.clone());
    Ok(item)
}

pub fn length(interp: &mut Interp, state: &LoopState) -> Res<i64> {
    if let Some(length) = state.inner.borrow().length {
        return Ok(length);
    }
    let source = state.inner.borrow().source.clone();
    let length = if iter::has_length(&source) {
        iter::length(interp, &source)?
    } else {
        let rest = Value::Iter(state.inner.borrow().iter.clone());
        let items = iter::collect(interp, &rest)?;
        let mut inner = state.inner.borrow_mut();
        let ahead = matches!(inner.after, Some(Some(_))) as i64;
        let length = items.len() as i64 + inner.index0 + 1 + ahead;
        inner.iter = make("list_iterator", &[], VecIter(items.into_iter()))?;
        length
    };
    state.inner.borrow_mut().length = Some(length);
    Ok(length)
}

/// An attribute of `loop`; none where it has no such thing.
pub fn attribute(interp: &mut Interp, state: &Rc<LoopState>, name: &str) -> Res<Option<Value>> {
    let index0 = state.inner.borrow().index0;
    Ok(Some(match name {
        "index0" => Value::Int(index0),
        "index" => Value::Int(index0 + 1),
        "first" => Value::Bool(index0 == 0),
        "last" => Value::Bool(peek(interp, state)?.is_none()),
        "length" => Value::Int(length(interp, state)?),
        "revindex" => Value::Int(length(interp, state)? - index0),
        "revindex0" => Value::Int(length(interp, state)? - index0 - 1),
        "depth0" => Value::Int(state.depth0),
        "depth" => Value::Int(state.depth0 + 1),
        "previtem" if index0 == 0 => Value::undefined("there is no previous item"),
        "previtem" => {
            let before = state.inner.borrow().before.clone();
            before.unwrap_or_else(|| Value::undefined("there is no previous item"))
        }
        "nextitem" => {
            peek(interp, state)?.unwrap_or_else(|| Value::undefined("there is no next item"))
        }
        "cycle" => Value::Loop(state.clone()).method("cycle"),
        "changed" => Value::Loop(state.clone()).method("changed"),
        _ => return Ok(None),
    }))
}

pub fn cycle(state: &LoopState, args: Vec<Value>) -> Res<Value> {
    if args.is_empty() {
        return type_error("no items for cycling given");
    }
    let index = state.inner.borrow().index0.rem_euclid(args.len() as i64);
    Ok(args[index as usize].clone())
}

pub fn changed(interp: &mut Interp, state: &LoopState, args: Vec<Value>) -> Res<Value> {
    let values = Value::tuple(args);
    let earlier = state.inner.borrow().changed.clone();
    let same = match earlier {
        Some(earlier) => ops::equal(interp, &earlier, &values)?,
        None => false,
    };
    state.inner.borrow_mut().changed = Some(values);
    Ok(Value::Bool(!same))
}

/// `loop(items)`: the body again, over other items, one level deeper.
pub fn recurse(interp: &mut Interp, state: &LoopState, items: &Value) -> Res<Value> {
    let Some(recursion) = state.recursion.clone() else {
        return type_error("The loop must have the 'recursive' marker to be called recursively.");
    };
    let text = interp.in_context(&recursion.context, |interp| {
        recursive(interp, &recursion.node, items, &recursion.scope, state.depth0 + 1)
    })?;
    Ok(Value::text(text, interp.autoescape))
}

/// One run of a recursive loop: a function of its own that returns its text.
pub fn recursive(
    interp: &mut Interp,
    node: &Arc<For>,
    items: &Value,
    scope: &Scope,
    depth0: i64,
) -> Res<String> {
    interp.call(|interp| {
        let own = interp.activate(node.slots, Some(scope));
        let recursion =
            Recursion { node: node.clone(), scope: scope.clone(), context: interp.context.clone() };
        let result = interp
            .capture(|interp| run(interp, node, items, &own, depth0, Some(recursion)).map(|_| ()));
        interp.retire(own);
        result
    })
}

/// The condition of a loop, as a generator over its items.
struct Filtered {
    node: Arc<For>,
    iter: Rc<IterObject>,
    scope: Scope,
    context: Rc<Context>,
}

impl PyIter for Filtered {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        let Some(test) = &self.node.test else { return Ok(None) };
        let (iter, scope) = (self.iter.clone(), self.scope.clone());
        let context = self.context.clone();
        interp.in_context(&context, |interp| {
            while let Some(item) = iter.next(interp)? {
                interp.assign(&test.target, item.clone(), &scope)?;
                if interp.eval(&test.test, &scope)?.truth() {
                    return Ok(Some(item));
                }
            }
            Ok(None)
        })
    }
}

/// The loop itself, into the present output.
fn run(
    interp: &mut Interp,
    node: &Arc<For>,
    items: &Value,
    scope: &Scope,
    depth0: i64,
    recursion: Option<Recursion>,
) -> Res<Flow> {
    let mut source = items.clone();
    if let Some(test) = &node.test {
        let own = interp.activate(test.slots, Some(scope));
        interp.enter_scope(&test.loads, &own);
        let context = interp.context.clone();
        let iter = iter::iterate(items)?;
        let state = Filtered { node: node.clone(), iter, scope: own, context };
        source = iter::make_value("generator", &[items], state)?;
    }
    let iter = iter::iterate(&source)?;
    let state = node.loop_var.map(|var| {
        let inner = Inner {
            source,
            iter: iter.clone(),
            index0: -1,
            length: None,
            after: None,
            current: None,
            before: None,
            changed: None,
        };
        (var, Rc::new(LoopState { inner: RefCell::new(inner), depth0, recursion }))
    });
    let mut empty = true;
    loop {
        let item = match &state {
            Some((_, state)) => advance(interp, state)?,
            None => iter.next(interp)?,
        };
        let Some(item) = item else { break };
        interp.assign(&node.target, item, scope)?;
        if let Some((var, state)) = &state {
            scope.set(*var, Some(Value::Loop(state.clone())));
        }
        interp.enter_scope(&node.loads, scope);
        let flow = interp.run_body(&node.body, scope)?;
        if flow == Flow::Break {
            // As in the Python that jinja2 writes, the else branch runs unless a body got to its end.
            break;
        }
        empty &= flow == Flow::Continue;
    }
    interp.leave_scope(&node.loads, scope);
    finish(interp, node, scope, empty)
}

fn finish(interp: &mut Interp, node: &Arc<For>, scope: &Scope, empty: bool) -> Res<Flow> {
    if !empty || node.else_.is_empty() {
        return Ok(Flow::Normal);
    }
    interp.enter_scope(&node.else_loads, scope);
    let flow = interp.run_body(&node.else_, scope)?;
    interp.leave_scope(&node.else_loads, scope);
    Ok(flow)
}

/// A loop in the function around it.
pub fn plain(interp: &mut Interp, node: &Arc<For>, items: &Value, scope: &Scope) -> Res<Flow> {
    run(interp, node, items, scope, 0, None)
}
