//! Runs a bound template: scopes, output, statements.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::*;
use super::call::CallArgs;
use super::error::{error, fail, type_error, Kind, Res};
use super::iter;
use super::limits::{Budget, MAX_CALLS, MAX_DEPTH};
pub use super::loops::LoopState;
use super::repr::to_text;
use super::strftime::DateTime;
use super::value::{type_name, BlockReference, PyStr, Value};

/// The variables of one call of a function; inner functions keep it alive.
pub struct Activation {
    slots: RefCell<Vec<Option<Value>>>,
    parent: Option<Scope>,
}

pub type Scope = Rc<Activation>;

impl Activation {
    pub fn get(&self, var: Var) -> Option<Value> {
        match (var.hops, &self.parent) {
            (0, _) => self.slots.borrow().get(var.slot as usize).cloned().flatten(),
            (hops, Some(parent)) => parent.get(Var { hops: hops - 1, ..var }),
            _ => None,
        }
    }
    pub fn set(&self, var: Var, value: Option<Value>) {
        match (var.hops, &self.parent) {
            (0, _) => {
                let old = self
                    .slots
                    .borrow_mut()
                    .get_mut(var.slot as usize)
                    .and_then(|slot| std::mem::replace(slot, value));
                drop(old);
            }
            (hops, Some(parent)) => parent.set(Var { hops: hops - 1, ..var }, value),
            _ => {}
        }
    }
    pub fn set_slot(&self, slot: u32, value: Option<Value>) {
        self.set(Var { hops: 0, slot }, value);
    }
}

/// What names mean that no scope knows: the caller's variables and what the template assigned at
/// its top level.
pub struct Context {
    pub given: HashMap<String, Value>,
    pub assigned: RefCell<HashMap<String, Value>>,
}

impl Context {
    pub fn resolve(&self, name: &str) -> Option<Value> {
        let assigned = self.assigned.borrow().get(name).cloned();
        assigned.or_else(|| self.given.get(name).cloned())
    }
}

pub struct MacroValue {
    pub def: Arc<MacroDef>,
    pub scope: Scope,
    pub context: Rc<Context>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Normal,
    Break,
    Continue,
}

pub struct Interp {
    pub template: Arc<Template>,
    pub context: Rc<Context>,
    pub budget: Budget,
    pub autoescape: bool,
    pub now: DateTime,
    /// The first is the template's, the others what is being captured inside it.
    buffers: Vec<String>,
    /// Of {% generation %} blocks: bytes of output before, characters of the block.
    pub generated: Vec<(usize, usize)>,
    /// Scopes that closures hold, which may hold the closures: emptied at the end.
    kept: Vec<Scope>,
    pub namespaces: Vec<Rc<super::value::Namespace>>,
    calls: u32,
}

impl Interp {
    pub fn new(template: Arc<Template>, given: HashMap<String, Value>, now: DateTime) -> Interp {
        Interp {
            template,
            context: Rc::new(Context { given, assigned: RefCell::default() }),
            budget: Budget::default(),
            autoescape: false,
            now,
            buffers: vec![String::new()],
            generated: vec![],
            kept: vec![],
            namespaces: vec![],
            calls: 0,
        }
    }

    pub fn render(&mut self) -> Res<String> {
        let template = self.template.clone();
        let scope = self.activate(template.slots, None);
        if let Some(slot) = template.self_var {
            scope.set_slot(slot, Some(Value::Template));
        }
        self.enter_scope(&template.loads, &scope);
        let result = self.run_body(&template.body, &scope);
        self.kept.push(scope);
        result?;
        Ok(std::mem::take(&mut self.buffers[0]))
    }

    pub fn activate(&self, slots: usize, parent: Option<&Scope>) -> Scope {
        Rc::new(Activation { slots: RefCell::new(vec![None; slots]), parent: parent.cloned() })
    }

    /// Lets go of a function's variables, unless a closure needs them.
    pub fn retire(&mut self, scope: Scope) {
        if Rc::strong_count(&scope) > 1 {
            self.kept.push(scope);
        }
    }

    pub fn enter_scope(&mut self, loads: &Loads, scope: &Scope) {
        for (slot, load) in loads {
            match load {
                Load::Param => {}
                Load::Resolve(name) => scope.set_slot(*slot, self.context.resolve(&name.text)),
                Load::Alias(var) => scope.set_slot(*slot, scope.get(*var)),
                Load::Missing => scope.set_slot(*slot, None),
            }
        }
    }

    pub fn leave_scope(&mut self, loads: &Loads, scope: &Scope) {
        loads.iter().for_each(|(slot, _)| scope.set_slot(*slot, None));
    }

    /// Runs `body` one call deeper.
    pub fn call<T>(&mut self, body: impl FnOnce(&mut Interp) -> Res<T>) -> Res<T> {
        if self.calls >= MAX_CALLS {
            return fail(Kind::Recursion, "maximum recursion depth exceeded");
        }
        self.calls += 1;
        let result = body(self);
        self.calls -= 1;
        result
    }

    pub fn in_context<T>(
        &mut self,
        context: &Rc<Context>,
        body: impl FnOnce(&mut Interp) -> T,
    ) -> T {
        let outer = std::mem::replace(&mut self.context, context.clone());
        let result = body(self);
        self.context = outer;
        result
    }

    /// What `body` writes, as text of its own.
    pub fn capture<T>(&mut self, body: impl FnOnce(&mut Interp) -> Res<T>) -> Res<String> {
        self.buffers.push(String::new());
        let result = body(self);
        let text = self.buffers.pop().unwrap_or_default();
        result.map(|_| text)
    }

    /// The same for bodies that may be left by break or continue; then what they wrote is lost.
    fn capture_flow(
        &mut self,
        body: impl FnOnce(&mut Interp) -> Res<Flow>,
    ) -> Res<Result<String, Flow>> {
        let mut flow = Flow::Normal;
        let text = self.capture(|interp| {
            flow = body(interp)?;
            Ok(())
        })?;
        Ok(if flow == Flow::Normal { Ok(text) } else { Err(flow) })
    }

    pub fn write(&mut self, text: &str) -> Res<()> {
        let length = self.buffers.last().map_or(0, String::len) + text.len();
        self.budget.work(text.len())?;
        if length > 1 << 20 {
            self.budget.room(length)?;
        }
        if let Some(buffer) = self.buffers.last_mut() {
            buffer.push_str(text);
        }
        Ok(())
    }

    fn write_value(&mut self, value: &Value) -> Res<()> {
        if self.autoescape {
            let text = super::html::escape(self, value)?;
            return self.write_value_plain(&text);
        }
        self.write_value_plain(value)
    }

    fn write_value_plain(&mut self, value: &Value) -> Res<()> {
        match value {
            Value::Str(text) => self.write(&text.text),
            other => {
                let text = to_text(self, other)?;
                self.write(&text)
            }
        }
    }

    pub fn run_body(&mut self, body: &[Stmt], scope: &Scope) -> Res<Flow> {
        for stmt in body {
            let flow = self.run(stmt, scope).map_err(|mut error| {
                if error.line == 0 {
                    error.line = stmt.line;
                }
                error
            })?;
            if flow != Flow::Normal {
                return Ok(flow);
            }
        }
        Ok(Flow::Normal)
    }

    fn run(&mut self, stmt: &Stmt, scope: &Scope) -> Res<Flow> {
        self.budget.step()?;
        match &stmt.kind {
            StmtKind::Output(nodes) => {
                for node in nodes {
                    match &node.kind {
                        ExprKind::Data(text) => self.write(&text.text)?,
                        _ => {
                            let value = self.eval(node, scope)?;
                            self.write_value(&value)?;
                        }
                    }
                }
            }
            StmtKind::If { test, body, elifs, else_ } => {
                if self.eval(test, scope)?.truth() {
                    return self.run_body(body, scope);
                }
                for (test, body) in elifs {
                    if self.eval(test, scope)?.truth() {
                        return self.run_body(body, scope);
                    }
                }
                return self.run_body(else_, scope);
            }
            StmtKind::For(node) => return self.run_for(node, scope),
            StmtKind::Assign { target, value, exports } => {
                self.run_assign(target, value, exports, scope)?
            }
            StmtKind::AssignBlock { target, filter, body, loads, exports } => {
                self.enter_scope(loads, scope);
                let text = match self.capture_flow(|interp| interp.run_body(body, scope))? {
                    Ok(text) => text,
                    Err(flow) => return Ok(flow),
                };
                let mut value = Value::text(text, self.autoescape);
                if let Some(filter) = filter {
                    value = self.eval_filter_chain(filter, value, scope)?;
                    if self.autoescape {
                        value = Value::markup(to_text(self, &value)?);
                    }
                }
                self.check_namespaces(target, scope)?;
                self.assign(target, value, scope)?;
                self.export(exports, scope);
                self.leave_scope(loads, scope);
            }
            StmtKind::Macro { name, def, export } => {
                let value = self.make_macro(def, scope);
                if *export {
                    self.context
                        .assigned
                        .borrow_mut()
                        .insert(name.name.text.clone(), value.clone());
                }
                scope.set(name.var, Some(value));
            }
            StmtKind::CallBlock { call, def } => {
                let caller = self.make_macro(def, scope);
                let value = match call {
                    Some(call) => self.eval_call(call, Some(caller), scope)?,
                    None => self.generation(&caller)?,
                };
                self.write_value(&value)?;
            }
            StmtKind::FilterBlock { filter, body, loads } => {
                self.enter_scope(loads, scope);
                let text = match self.capture_flow(|interp| interp.run_body(body, scope))? {
                    Ok(text) => Value::text(text, self.autoescape),
                    Err(flow) => return Ok(flow),
                };
                let value = self.eval_filter_chain(filter, text, scope)?;
                self.write_value(&value)?;
                self.leave_scope(loads, scope);
            }
            StmtKind::With { targets, values, body, loads } => {
                self.enter_scope(loads, scope);
                for (target, value) in targets.iter().zip(values) {
                    let value = self.eval(value, scope)?;
                    self.assign(target, value, scope)?;
                }
                let flow = self.run_body(body, scope)?;
                self.leave_scope(loads, scope);
                return Ok(flow);
            }
            StmtKind::Block(block) => self.run_block(block, scope)?,
            StmtKind::Autoescape { value, body, loads } => {
                self.enter_scope(loads, scope);
                let on = self.eval(value, scope)?.truth();
                let outer = std::mem::replace(&mut self.autoescape, on);
                let flow = self.run_body(body, scope);
                self.autoescape = outer;
                self.leave_scope(loads, scope);
                return flow;
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Loader { template, .. } => {
                self.eval(template, scope)?;
                return type_error("no loader for this environment specified");
            }
        }
        Ok(Flow::Normal)
    }

    fn run_for(&mut self, node: &Arc<For>, scope: &Scope) -> Res<Flow> {
        let items = self.eval(&node.iter, scope)?;
        if node.recursive {
            let text = super::loops::recursive(self, node, &items, scope, 0)?;
            self.write(&text)?;
            return Ok(Flow::Normal);
        }
        super::loops::plain(self, node, &items, scope)
    }

    fn run_assign(
        &mut self,
        target: &Expr,
        value: &Expr,
        exports: &Exports,
        scope: &Scope,
    ) -> Res<()> {
        self.check_namespaces(target, scope)?;
        let value = self.eval(value, scope)?;
        self.assign(target, value, scope)?;
        self.export(exports, scope);
        Ok(())
    }

    fn export(&mut self, exports: &Exports, scope: &Scope) {
        for (name, var) in exports {
            if let Some(value) = scope.get(*var) {
                self.context.assigned.borrow_mut().insert(name.text.clone(), value);
            }
        }
    }

    fn check_namespaces(&mut self, target: &Expr, scope: &Scope) -> Res<()> {
        match &target.kind {
            ExprKind::Tuple(items) => {
                items.iter().try_for_each(|item| self.check_namespaces(item, scope))
            }
            ExprKind::NsRef(name, _)
                if !matches!(scope.get(name.var), Some(Value::Namespace(_))) =>
            {
                fail(Kind::Runtime, "cannot assign attribute on non-namespace object")
            }
            _ => Ok(()),
        }
    }

    pub fn assign(&mut self, target: &Expr, value: Value, scope: &Scope) -> Res<()> {
        match &target.kind {
            ExprKind::Name(name) => {
                scope.set(name.var, Some(value));
                Ok(())
            }
            ExprKind::NsRef(name, attr) => match scope.get(name.var) {
                Some(Value::Namespace(namespace)) => self.set_attribute(&namespace, attr, value),
                _ => fail(Kind::Runtime, "cannot assign attribute on non-namespace object"),
            },
            ExprKind::Tuple(targets) => {
                let items = self.unpack(&value, targets.len())?;
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
                Ok(())
            }
            _ => fail(Kind::Runtime, "cannot assign to this"),
        }
    }

    fn set_attribute(
        &mut self,
        namespace: &super::value::Namespace,
        attr: &Arc<PyStr>,
        value: Value,
    ) -> Res<()> {
        super::globals::check_attribute_name(&attr.text)?;
        if value.depth() > MAX_DEPTH {
            return fail(Kind::Recursion, "maximum recursion depth exceeded");
        }
        let old = {
            let mut attrs = namespace.attrs.borrow_mut();
            let old = attrs.get_text(&attr.text).cloned();
            attrs.insert_text(&attr.text, value);
            old
        };
        drop(old);
        Ok(())
    }

    fn unpack(&mut self, value: &Value, count: usize) -> Res<Vec<Value>> {
        if !iter::is_iterable(value) {
            return type_error(format!("cannot unpack non-iterable {} object", type_name(value)));
        }
        let iter = iter::iterate(value)?;
        let mut items = vec![];
        while items.len() <= count {
            match iter.next(self)? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        match items.len() {
            found if found < count => fail(
                Kind::Value,
                format!("not enough values to unpack (expected {count}, got {found})"),
            ),
            found if found > count => {
                fail(Kind::Value, format!("too many values to unpack (expected {count})"))
            }
            _ => Ok(items),
        }
    }

    fn make_macro(&mut self, def: &Arc<MacroDef>, scope: &Scope) -> Value {
        let context = self.context.clone();
        Value::Macro(Rc::new(MacroValue { def: def.clone(), scope: scope.clone(), context }))
    }

    /// A {% generation %} block: its text, and where it begins in what is already out.
    fn generation(&mut self, caller: &Value) -> Res<Value> {
        let value = self.call_value(caller, CallArgs::default())?;
        if let Value::Str(text) = &value {
            self.generated.push((self.buffers[0].len(), text.char_len()));
        }
        Ok(value)
    }

    fn run_block(&mut self, block: &Arc<Block>, scope: &Scope) -> Res<()> {
        if block.required {
            let name = super::repr::repr_str(&block.name.text);
            return fail(Kind::Runtime, format!("Required block {name} not found"));
        }
        if !block.scoped {
            return self.write_block(block);
        }
        let mut given = self.context.given.clone();
        given.extend(self.context.assigned.borrow().clone());
        for (name, var) in &block.locals {
            given.extend(scope.get(*var).map(|value| (name.text.clone(), value)));
        }
        let context = Rc::new(Context { given, assigned: RefCell::default() });
        self.in_context(&context, |interp| interp.write_block(block))
    }

    /// A block into the present output, as a function of its own.
    fn write_block(&mut self, block: &Arc<Block>) -> Res<()> {
        self.call(|interp| {
            let scope = interp.activate(block.slots, None);
            if let Some(slot) = block.self_var {
                scope.set_slot(slot, Some(Value::Template));
            }
            if let Some(slot) = block.super_var {
                let name = super::repr::repr_str(&block.name.text);
                let message = format!("there is no parent block called {name}.");
                scope.set_slot(slot, Some(Value::undefined(message)));
            }
            interp.enter_scope(&block.loads, &scope);
            let result = interp.run_body(&block.body, &scope);
            interp.retire(scope);
            result.map(|_| ())
        })
    }

    /// `self.name()`
    pub fn call_block(&mut self, reference: &BlockReference) -> Res<Value> {
        let found = self.template.blocks.iter().find(|block| block.name == reference.name).cloned();
        let block = found.ok_or_else(|| error(Kind::Key, reference.name.text.clone()))?;
        let text = self.capture(|interp| interp.write_block(&block))?;
        Ok(Value::text(text, self.autoescape))
    }
}

impl Drop for Interp {
    /// Breaks the circles of closures and the scopes they live in.
    fn drop(&mut self) {
        for scope in &self.kept {
            let slots = std::mem::take(&mut *scope.slots.borrow_mut());
            drop(slots);
        }
        for namespace in &self.namespaces {
            let attrs = std::mem::take(&mut *namespace.attrs.borrow_mut());
            drop(attrs);
        }
        let assigned = std::mem::take(&mut *self.context.assigned.borrow_mut());
        drop(assigned);
    }
}
