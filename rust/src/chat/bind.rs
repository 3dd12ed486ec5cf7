//! Gives every name its slot and every filter and test its function, as jinja2's compiler does
//! when it writes Python.

use std::sync::Arc;

use super::ast::*;
use super::error::{fail_at, Kind, Res};
use super::repr::repr_str;
use super::symbols::{find_undeclared, walk_for, LoadFrom, NameText, Scopes, Seen, VarId};
use super::value::PyStr;
use super::{filters, tests};

#[derive(Clone, Copy)]
struct Frame {
    sym: usize,
    function: usize,
    toplevel: bool,
    /// Inside an if: filters and tests may be unknown until they are called.
    soft: bool,
    in_loop: bool,
}

struct Binder {
    scopes: Scopes,
    blocks: Vec<Arc<Block>>,
}

/// @param body what the parser made.
pub fn bind(mut body: Vec<Stmt>) -> Res<Template> {
    let mut binder = Binder { scopes: Scopes::default(), blocks: vec![] };
    let function = binder.scopes.new_function(None);
    let sym = binder.scopes.new_symbols(None, function);
    let frame = Frame { sym, function, toplevel: true, soft: false, in_loop: false };
    let self_var = binder.special(frame, &body, "self");
    binder.scopes.visit_all(sym, &body);
    binder.statements(&mut body, frame)?;
    let loads = binder.loads(frame);
    let slots = binder.scopes.functions[function].slots.len();
    Ok(Template { body, loads, slots, self_var, blocks: binder.blocks })
}

fn text(name: &str) -> NameText {
    Arc::new(PyStr::new(name.to_string()))
}

impl Binder {
    fn inner(&mut self, frame: Frame) -> Frame {
        let sym = self.scopes.new_symbols(Some(frame.sym), frame.function);
        Frame { sym, toplevel: false, soft: false, ..frame }
    }

    fn inner_function(&mut self, frame: Frame) -> Frame {
        let function = self.scopes.new_function(Some(frame.function));
        let sym = self.scopes.new_symbols(Some(frame.sym), function);
        Frame { sym, function, toplevel: false, soft: false, in_loop: false }
    }

    fn slots(&self, frame: Frame) -> usize {
        self.scopes.functions[frame.function].slots.len()
    }

    /// Declares a name that the surroundings provide, if the body reads it.
    fn special(&mut self, frame: Frame, body: &[Stmt], name: &'static str) -> Option<u32> {
        if find_undeclared(body, &[name]).is_empty() {
            return None;
        }
        Some(self.scopes.declare_parameter(frame.sym, &text(name)).slot)
    }

    fn relative(&self, frame: Frame, var: VarId) -> Var {
        let functions = &self.scopes.functions;
        let hops = functions[frame.function].depth - functions[var.function].depth;
        Var { hops, slot: var.slot }
    }

    fn loads(&self, frame: Frame) -> Loads {
        let loads = &self.scopes.symbols[frame.sym].loads;
        let bound = loads.iter().map(|(var, load)| {
            let load = match load {
                LoadFrom::Param => Load::Param,
                LoadFrom::Resolve(name) => Load::Resolve(name.clone()),
                LoadFrom::Alias(outer) => Load::Alias(self.relative(frame, *outer)),
                LoadFrom::Missing => Load::Missing,
            };
            (var.slot, load)
        });
        bound.collect()
    }

    fn name(&self, name: &mut Name, frame: Frame) {
        if let Some(var) = self.scopes.find_ref(frame.sym, &name.name) {
            name.var = self.relative(frame, var);
        }
    }

    fn statements(&mut self, body: &mut [Stmt], frame: Frame) -> Res<()> {
        body.iter_mut().try_for_each(|stmt| self.statement(stmt, frame))
    }

    fn statement(&mut self, stmt: &mut Stmt, frame: Frame) -> Res<()> {
        let line = stmt.line;
        match &mut stmt.kind {
            StmtKind::Output(nodes) => self.exprs(nodes, frame)?,
            StmtKind::For(node) => {
                if let Some(node) = Arc::get_mut(node) {
                    self.for_loop(node, frame)?;
                }
            }
            StmtKind::If { test, body, elifs, else_ } => {
                let frame = Frame { soft: true, ..frame };
                self.expr(test, frame)?;
                self.statements(body, frame)?;
                for (test, body) in elifs {
                    self.expr(test, frame)?;
                    self.statements(body, frame)?;
                }
                self.statements(else_, frame)?;
            }
            StmtKind::Macro { name, def, export } => {
                if let Some(def) = Arc::get_mut(def) {
                    self.macro_body(def, frame)?;
                }
                *export = frame.toplevel;
                self.name(name, frame);
            }
            StmtKind::CallBlock { call, def } => {
                if let Some(def) = Arc::get_mut(def) {
                    self.macro_body(def, frame)?;
                }
                if let Some(call) = call {
                    self.expr(call, frame)?;
                }
            }
            StmtKind::FilterBlock { filter, body, loads } => {
                let inner = self.inner(frame);
                self.scopes.visit_all(inner.sym, body);
                self.scopes.visit_expr(inner.sym, filter, false);
                self.statements(body, inner)?;
                self.expr(filter, inner)?;
                *loads = self.loads(inner);
            }
            StmtKind::With { targets, values, body, loads } => {
                let inner = self.inner(frame);
                targets.iter().for_each(|target| self.scopes.visit_expr(inner.sym, target, false));
                self.scopes.visit_all(inner.sym, body);
                self.exprs(targets, inner)?;
                self.exprs(values, frame)?;
                self.statements(body, inner)?;
                *loads = self.loads(inner);
            }
            StmtKind::Assign { target, value, exports } => {
                self.expr(target, frame)?;
                self.expr(value, frame)?;
                *exports = self.exports(target, frame);
            }
            StmtKind::AssignBlock { target, filter, body, loads, exports } => {
                let inner = self.inner(frame);
                self.scopes.visit_all(inner.sym, body);
                if let Some(filter) = filter {
                    // jinja2 leaves the filter's arguments out of the block's analysis.
                    self.scopes.visit_expr(inner.sym, filter, false);
                }
                self.statements(body, inner)?;
                self.expr(target, frame)?;
                if let Some(filter) = filter {
                    self.expr(filter, inner)?;
                }
                *loads = self.loads(inner);
                *exports = self.exports(target, frame);
            }
            StmtKind::Block(block) => self.block(block, frame)?,
            StmtKind::Autoescape { value, body, loads } => {
                let inner = self.inner(frame);
                self.scopes.visit_expr(inner.sym, value, false);
                self.scopes.visit_all(inner.sym, body);
                self.expr(value, inner)?;
                self.statements(body, inner)?;
                *loads = self.loads(inner);
            }
            StmtKind::Break if !frame.in_loop => {
                return fail_at(Kind::Syntax, line, "'break' outside loop");
            }
            StmtKind::Continue if !frame.in_loop => {
                return fail_at(Kind::Syntax, line, "'continue' not properly in loop");
            }
            StmtKind::Loader { template, target, .. } => {
                self.expr(template, frame)?;
                target.iter_mut().for_each(|name| self.name(name, frame));
            }
            StmtKind::Break | StmtKind::Continue => {}
        }
        Ok(())
    }

    fn exports(&self, target: &Expr, frame: Frame) -> Exports {
        let mut names = vec![];
        if frame.toplevel {
            collect_names(target, &mut names);
        }
        names
    }

    fn for_loop(&mut self, node: &mut For, frame: Frame) -> Res<()> {
        let mut reads_loop = !find_undeclared(&node.body, &["loop"]).is_empty();
        let mut assigns_loop = false;
        walk_for(node, &mut |seen| match seen {
            Seen::Name(name) => assigns_loop |= name.ctx == Ctx::Store && name.name.text == "loop",
            Seen::Block(block) => reads_loop |= block.scoped,
        });
        if assigns_loop {
            let message = "Can't assign to special loop variable in for-loop target";
            return fail_at(Kind::Compile, node.line, message);
        }
        let function_frame = if node.recursive { self.inner_function(frame) } else { frame };
        let loop_frame = match node.recursive {
            true => Frame { in_loop: true, ..function_frame },
            false => Frame { in_loop: true, ..self.inner(frame) },
        };
        let mut else_frame = self.inner(frame);
        if node.recursive {
            let sym = self.scopes.new_symbols(Some(frame.sym), function_frame.function);
            else_frame = Frame { sym, in_loop: false, ..function_frame };
        }
        if reads_loop || node.recursive {
            let var = self.scopes.declare_parameter(loop_frame.sym, &text("loop"));
            node.loop_var = Some(self.relative(loop_frame, var));
        }
        self.scopes.visit_expr(loop_frame.sym, &node.target, true);
        self.scopes.visit_all(loop_frame.sym, &node.body);
        self.scopes.visit_all(else_frame.sym, &node.else_);
        self.loop_test(node, frame, function_frame)?;
        self.expr(&mut node.target, loop_frame)?;
        self.expr(&mut node.iter, frame)?;
        self.statements(&mut node.body, loop_frame)?;
        self.statements(&mut node.else_, else_frame)?;
        node.loads = self.loads(loop_frame);
        node.else_loads = self.loads(else_frame);
        node.slots = self.slots(loop_frame);
        Ok(())
    }

    fn loop_test(&mut self, node: &mut For, frame: Frame, caller: Frame) -> Res<()> {
        let Some(test) = &mut node.test else { return Ok(()) };
        // Called from the loop's own function, but its names are looked up from outside.
        let function = self.scopes.new_function(Some(caller.function));
        let sym = self.scopes.new_symbols(Some(frame.sym), function);
        let inner = Frame { sym, function, toplevel: false, soft: false, in_loop: false };
        self.scopes.visit_expr(sym, &test.target, true);
        self.scopes.visit_expr(sym, &test.test, false);
        self.expr(&mut test.target, inner)?;
        self.expr(&mut test.test, inner)?;
        test.loads = self.loads(inner);
        test.slots = self.slots(inner);
        Ok(())
    }

    fn macro_body(&mut self, def: &mut MacroDef, frame: Frame) -> Res<()> {
        let inner = self.inner_function(frame);
        def.args.iter().for_each(|arg| self.scopes.visit_name(inner.sym, arg, false));
        def.defaults.iter().for_each(|default| self.scopes.visit_expr(inner.sym, default, false));
        self.scopes.visit_all(inner.sym, &def.body);
        let undeclared = find_undeclared(&def.body, &["caller", "kwargs", "varargs"]);
        let position = |name: &str| def.args.iter().position(|arg| arg.name.text == name);
        if undeclared.contains(&"caller") {
            match position("caller") {
                Some(at) if at + def.defaults.len() < def.args.len() => {
                    let message =
                        "When defining macros or call blocks the special \"caller\" argument \
                                   must be omitted or be given a default.";
                    return fail_at(Kind::Compile, def.line, message);
                }
                Some(_) => {}
                None => {
                    def.caller =
                        Some(self.scopes.declare_parameter(inner.sym, &text("caller")).slot)
                }
            }
        }
        if undeclared.contains(&"kwargs") && position("kwargs").is_none() {
            def.kwargs = Some(self.scopes.declare_parameter(inner.sym, &text("kwargs")).slot);
        }
        if undeclared.contains(&"varargs") && position("varargs").is_none() {
            def.varargs = Some(self.scopes.declare_parameter(inner.sym, &text("varargs")).slot);
        }
        def.args.iter_mut().for_each(|arg| self.name(arg, inner));
        self.exprs(&mut def.defaults, inner)?;
        self.statements(&mut def.body, inner)?;
        def.loads = self.loads(inner);
        def.slots = self.slots(inner);
        Ok(())
    }

    fn block(&mut self, block: &mut Arc<Block>, frame: Frame) -> Res<()> {
        if self.blocks.iter().any(|known| known.name == block.name) {
            let name = repr_str(&block.name.text);
            return fail_at(Kind::Compile, block.line, format!("block {name} defined twice"));
        }
        let locals = if block.scoped { self.scopes.dump_stores(frame.sym) } else { vec![] };
        let locals: Exports =
            locals.into_iter().map(|(name, var)| (name, self.relative(frame, var))).collect();
        let function = self.scopes.new_function(None);
        let sym = self.scopes.new_symbols(None, function);
        let inner = Frame { sym, function, toplevel: false, soft: false, in_loop: false };
        if let Some(block) = Arc::get_mut(block) {
            block.locals = locals;
            block.self_var = self.special(inner, &block.body, "self");
            block.super_var = self.special(inner, &block.body, "super");
            self.scopes.visit_all(sym, &block.body);
            self.statements(&mut block.body, inner)?;
            block.loads = self.loads(inner);
            block.slots = self.slots(inner);
        }
        self.blocks.push(block.clone());
        Ok(())
    }

    fn exprs(&mut self, exprs: &mut [Expr], frame: Frame) -> Res<()> {
        exprs.iter_mut().try_for_each(|expr| self.expr(expr, frame))
    }

    fn args(&mut self, args: &mut Args, frame: Frame) -> Res<()> {
        self.exprs(&mut args.positional, frame)?;
        args.keyword.iter_mut().try_for_each(|(_, value)| self.expr(value, frame))?;
        args.dyn_positional.iter_mut().try_for_each(|value| self.expr(value, frame))?;
        args.dyn_keyword.iter_mut().try_for_each(|value| self.expr(value, frame))
    }

    fn expr(&mut self, expr: &mut Expr, frame: Frame) -> Res<()> {
        let line = expr.line;
        match &mut expr.kind {
            ExprKind::Const(_) | ExprKind::Data(_) => Ok(()),
            ExprKind::Name(name) | ExprKind::NsRef(name, _) => {
                self.name(name, frame);
                Ok(())
            }
            ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items) => {
                self.exprs(items, frame)
            }
            ExprKind::Dict(items) => items.iter_mut().try_for_each(|(key, value)| {
                self.expr(key, frame)?;
                self.expr(value, frame)
            }),
            ExprKind::Neg(a) | ExprKind::Pos(a) | ExprKind::Not(a) | ExprKind::Getattr(a, _) => {
                self.expr(a, frame)
            }
            ExprKind::And(a, b)
            | ExprKind::Or(a, b)
            | ExprKind::Binary(_, a, b)
            | ExprKind::Getitem(a, b) => {
                self.expr(a, frame)?;
                self.expr(b, frame)
            }
            ExprKind::Compare(a, ops) => {
                self.expr(a, frame)?;
                ops.iter_mut().try_for_each(|(_, operand)| self.expr(operand, frame))
            }
            ExprKind::Slice(parts) => {
                parts.iter_mut().flatten().try_for_each(|part| self.expr(part, frame))
            }
            ExprKind::Call(a, args) => {
                self.expr(a, frame)?;
                self.args(args, frame)
            }
            ExprKind::Filter(a, name, args, function) => {
                *function = filters::lookup(&name.text);
                if function.is_none() && !frame.soft {
                    return unknown("filter", name, line);
                }
                a.iter_mut().try_for_each(|a| self.expr(a, frame))?;
                self.args(args, frame)
            }
            ExprKind::Test(a, name, args, function) => {
                *function = tests::lookup(&name.text);
                if function.is_none() && !frame.soft {
                    return unknown("test", name, line);
                }
                self.expr(a, frame)?;
                self.args(args, frame)
            }
            ExprKind::Cond(test, a, b) => {
                let frame = Frame { soft: true, ..frame };
                self.expr(test, frame)?;
                self.expr(a, frame)?;
                b.iter_mut().try_for_each(|b| self.expr(b, frame))
            }
        }
    }
}

fn unknown(kind: &str, name: &PyStr, line: u32) -> Res<()> {
    fail_at(Kind::Compile, line, format!("No {kind} named {}.", repr_str(&name.text)))
}

fn collect_names(target: &Expr, names: &mut Exports) {
    match &target.kind {
        ExprKind::Name(name) => names.push((name.name.clone(), name.var)),
        ExprKind::Tuple(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}
