//! Which scope a name belongs to. Jinja decides that before rendering, from where names are read
//! and written, and some of what templates print follows from exactly how; so this is jinja2's
//! analysis (idtracking), with slots in place of Python identifiers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::ast::*;
use super::value::PyStr;

pub type NameText = Arc<PyStr>;

/// Function and slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VarId {
    pub function: usize,
    pub slot: u32,
}

#[derive(Clone)]
pub enum LoadFrom {
    Param,
    Resolve(NameText),
    Alias(VarId),
    Missing,
}

#[derive(Clone)]
pub struct Symbols {
    pub level: u32,
    pub parent: Option<usize>,
    pub function: usize,
    pub refs: HashMap<NameText, VarId>,
    /// In the order in which names were first met.
    pub loads: Vec<(VarId, LoadFrom)>,
    pub stores: BTreeSet<String>,
    names: HashMap<String, NameText>,
}

/// A Python function that jinja2 would have written: the template, a macro, a loop's condition.
pub struct Function {
    pub depth: u32,
    pub slots: HashMap<(u32, NameText), u32>,
}

#[derive(Default)]
pub struct Scopes {
    pub symbols: Vec<Symbols>,
    pub functions: Vec<Function>,
}

fn set_load(loads: &mut Vec<(VarId, LoadFrom)>, var: VarId, load: LoadFrom) {
    match loads.iter_mut().find(|(known, _)| *known == var) {
        Some(entry) => entry.1 = load,
        None => loads.push((var, load)),
    }
}

impl Scopes {
    pub fn new_function(&mut self, parent: Option<usize>) -> usize {
        let depth = parent.map_or(0, |parent| self.functions[parent].depth + 1);
        self.functions.push(Function { depth, slots: HashMap::new() });
        self.functions.len() - 1
    }

    pub fn new_symbols(&mut self, parent: Option<usize>, function: usize) -> usize {
        let level = parent.map_or(0, |parent| self.symbols[parent].level + 1);
        self.symbols.push(Symbols {
            level,
            parent,
            function,
            refs: HashMap::new(),
            loads: vec![],
            stores: BTreeSet::new(),
            names: HashMap::new(),
        });
        self.symbols.len() - 1
    }

    fn copy(&mut self, sym: usize) -> usize {
        let copy = self.symbols[sym].clone();
        self.symbols.push(copy);
        self.symbols.len() - 1
    }

    fn define(&mut self, sym: usize, name: &NameText, load: LoadFrom) -> VarId {
        let (level, function) = (self.symbols[sym].level, self.symbols[sym].function);
        let slots = &mut self.functions[function].slots;
        let next = slots.len() as u32;
        let slot = *slots.entry((level, name.clone())).or_insert(next);
        let var = VarId { function, slot };
        self.symbols[sym].refs.insert(name.clone(), var);
        set_load(&mut self.symbols[sym].loads, var, load);
        var
    }

    pub fn find_ref(&self, sym: usize, name: &NameText) -> Option<VarId> {
        let mut at = Some(sym);
        while let Some(index) = at {
            let symbols = &self.symbols[index];
            if let Some(var) = symbols.refs.get(name) {
                return Some(*var);
            }
            at = symbols.parent;
        }
        None
    }

    fn remember_store(&mut self, sym: usize, name: &NameText) {
        let symbols = &mut self.symbols[sym];
        symbols.stores.insert(name.text.clone());
        symbols.names.insert(name.text.clone(), name.clone());
    }

    pub fn store(&mut self, sym: usize, name: &NameText) {
        self.remember_store(sym, name);
        if self.symbols[sym].refs.contains_key(name) {
            return;
        }
        let outer = self.symbols[sym].parent.and_then(|parent| self.find_ref(parent, name));
        self.define(sym, name, outer.map_or(LoadFrom::Missing, LoadFrom::Alias));
    }

    pub fn declare_parameter(&mut self, sym: usize, name: &NameText) -> VarId {
        self.remember_store(sym, name);
        self.define(sym, name, LoadFrom::Param)
    }

    fn load(&mut self, sym: usize, name: &NameText) {
        if self.find_ref(sym, name).is_none() {
            self.define(sym, name, LoadFrom::Resolve(name.clone()));
        }
    }

    fn branch_update(&mut self, sym: usize, branches: &[usize]) {
        let mut stores = BTreeSet::new();
        for branch in branches {
            stores.extend(self.symbols[*branch].stores.iter().cloned());
        }
        let stores: Vec<String> = stores.difference(&self.symbols[sym].stores).cloned().collect();
        for branch in branches {
            let branch = self.symbols[*branch].clone();
            let symbols = &mut self.symbols[sym];
            symbols.refs.extend(branch.refs);
            symbols.stores.extend(branch.stores);
            symbols.names.extend(branch.names);
            for (var, load) in branch.loads {
                set_load(&mut symbols.loads, var, load);
            }
        }
        for text in stores {
            let Some(name) = self.symbols[sym].names.get(&text).cloned() else { continue };
            let Some(target) = self.find_ref(sym, &name) else { continue };
            let outer = self.symbols[sym].parent.and_then(|parent| self.find_ref(parent, &name));
            let load = outer.map_or(LoadFrom::Resolve(name), LoadFrom::Alias);
            set_load(&mut self.symbols[sym].loads, target, load);
        }
    }

    /// Every name assigned in this scope or around it, with its variable.
    pub fn dump_stores(&self, sym: usize) -> Vec<(NameText, VarId)> {
        let mut found: Vec<(NameText, VarId)> = vec![];
        let mut at = Some(sym);
        while let Some(index) = at {
            let symbols = &self.symbols[index];
            for text in &symbols.stores {
                let known = found.iter().any(|(name, _)| name.text == *text);
                if let (false, Some(name)) = (known, symbols.names.get(text)) {
                    found.extend(self.find_ref(sym, name).map(|var| (name.clone(), var)));
                }
            }
            at = symbols.parent;
        }
        found
    }

    pub fn visit_name(&mut self, sym: usize, name: &Name, as_param: bool) {
        match name.ctx {
            _ if as_param => {
                self.declare_parameter(sym, &name.name);
            }
            Ctx::Param => {
                self.declare_parameter(sym, &name.name);
            }
            Ctx::Store => self.store(sym, &name.name),
            Ctx::Load => self.load(sym, &name.name),
        }
    }

    pub fn visit_expr(&mut self, sym: usize, expr: &Expr, as_param: bool) {
        match &expr.kind {
            ExprKind::Name(name) => self.visit_name(sym, name, as_param),
            ExprKind::NsRef(name, _) => self.load(sym, &name.name),
            _ => children(expr, &mut |child| self.visit_expr(sym, child, as_param)),
        }
    }

    pub fn visit_all(&mut self, sym: usize, body: &[Stmt]) {
        for stmt in body {
            self.visit_stmt(sym, stmt);
        }
    }

    /// A statement as the scope around it sees it: bodies that are scopes of their own stay out.
    pub fn visit_stmt(&mut self, sym: usize, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Output(nodes) => {
                nodes.iter().for_each(|node| self.visit_expr(sym, node, false));
            }
            StmtKind::If { test, body, elifs, else_ } => {
                self.visit_if(sym, test, body, elifs, else_);
            }
            StmtKind::For(node) => self.visit_expr(sym, &node.iter, false),
            StmtKind::Macro { name, .. } => self.store(sym, &name.name),
            StmtKind::CallBlock { call, .. } => {
                call.iter().for_each(|call| self.visit_expr(sym, call, false));
            }
            StmtKind::FilterBlock { filter, .. } => self.visit_expr(sym, filter, false),
            StmtKind::With { values, .. } => {
                values.iter().for_each(|value| self.visit_expr(sym, value, false));
            }
            StmtKind::Assign { target, value, .. } => {
                self.visit_expr(sym, value, false);
                self.visit_expr(sym, target, false);
            }
            StmtKind::AssignBlock { target, .. } => self.visit_expr(sym, target, false),
            StmtKind::Loader { template, target, .. } => {
                self.visit_expr(sym, template, false);
                target.iter().for_each(|name| self.store(sym, &name.name));
            }
            StmtKind::Block(_)
            | StmtKind::Autoescape { .. }
            | StmtKind::Break
            | StmtKind::Continue => {}
        }
    }

    fn visit_if(
        &mut self,
        sym: usize,
        test: &Expr,
        body: &[Stmt],
        elifs: &[(Expr, Vec<Stmt>)],
        else_: &[Stmt],
    ) {
        self.visit_expr(sym, test, false);
        let body_sym = self.copy(sym);
        self.visit_all(body_sym, body);
        let elif_sym = self.copy(sym);
        for (test, body) in elifs {
            self.visit_if(elif_sym, test, body, &[], &[]);
        }
        let else_sym = self.copy(sym);
        self.visit_all(else_sym, else_);
        self.branch_update(sym, &[body_sym, elif_sym, else_sym]);
    }
}

/// Calls `visit` with every direct child, in jinja2's order of fields.
pub fn children(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    let args = |args: &Args, visit: &mut dyn FnMut(&Expr)| {
        args.positional.iter().for_each(&mut *visit);
        args.keyword.iter().for_each(|(_, value)| visit(value));
        args.dyn_positional.iter().for_each(|value| visit(value));
        args.dyn_keyword.iter().for_each(|value| visit(value));
    };
    match &expr.kind {
        ExprKind::Const(_) | ExprKind::Data(_) | ExprKind::Name(_) | ExprKind::NsRef(..) => {}
        ExprKind::Tuple(items) | ExprKind::List(items) | ExprKind::Concat(items) => {
            items.iter().for_each(visit);
        }
        ExprKind::Dict(items) => items.iter().for_each(|(key, value)| {
            visit(key);
            visit(value);
        }),
        ExprKind::Neg(a) | ExprKind::Pos(a) | ExprKind::Not(a) | ExprKind::Getattr(a, _) => {
            visit(a)
        }
        ExprKind::And(a, b)
        | ExprKind::Or(a, b)
        | ExprKind::Binary(_, a, b)
        | ExprKind::Getitem(a, b) => {
            visit(a);
            visit(b);
        }
        ExprKind::Compare(a, ops) => {
            visit(a);
            ops.iter().for_each(|(_, operand)| visit(operand));
        }
        ExprKind::Slice(parts) => parts.iter().flatten().for_each(|part| visit(part)),
        ExprKind::Call(a, call_args) => {
            visit(a);
            args(call_args, visit);
        }
        ExprKind::Filter(a, _, call_args, _) => {
            a.iter().for_each(|a| visit(a));
            args(call_args, visit);
        }
        ExprKind::Test(a, _, call_args, _) => {
            visit(a);
            args(call_args, visit);
        }
        ExprKind::Cond(test, a, b) => {
            visit(test);
            visit(a);
            b.iter().for_each(|b| visit(b));
        }
    }
}

/// What walk_names met.
pub enum Seen<'a> {
    Name(&'a Name),
    Block(&'a Block),
}

fn walk_expr(expr: &Expr, visit: &mut dyn FnMut(Seen)) {
    if let ExprKind::Name(name) = &expr.kind {
        visit(Seen::Name(name));
    }
    children(expr, &mut |child| walk_expr(child, visit));
}

fn walk_def(def: &MacroDef, visit: &mut dyn FnMut(Seen)) {
    def.args.iter().for_each(|arg| visit(Seen::Name(arg)));
    def.defaults.iter().for_each(|default| walk_expr(default, visit));
    walk(&def.body, visit);
}

/// Every name and block below, in jinja2's order.
pub fn walk(body: &[Stmt], visit: &mut dyn FnMut(Seen)) {
    for stmt in body {
        match &stmt.kind {
            StmtKind::Output(nodes) => nodes.iter().for_each(|node| walk_expr(node, visit)),
            StmtKind::For(node) => walk_for(node, visit),
            StmtKind::If { test, body, elifs, else_ } => {
                walk_expr(test, visit);
                walk(body, visit);
                for (test, body) in elifs {
                    walk_expr(test, visit);
                    walk(body, visit);
                }
                walk(else_, visit);
            }
            StmtKind::Macro { def, .. } => walk_def(def, visit),
            StmtKind::CallBlock { call, def } => {
                call.iter().for_each(|call| walk_expr(call, visit));
                walk_def(def, visit);
            }
            StmtKind::FilterBlock { filter, body, .. } => {
                walk(body, visit);
                walk_expr(filter, visit);
            }
            StmtKind::With { targets, values, body, .. } => {
                targets.iter().chain(values).for_each(|expr| walk_expr(expr, visit));
                walk(body, visit);
            }
            StmtKind::Assign { target, value, .. } => {
                walk_expr(target, visit);
                walk_expr(value, visit);
            }
            StmtKind::AssignBlock { target, filter, body, .. } => {
                walk_expr(target, visit);
                filter.iter().for_each(|filter| walk_expr(filter, visit));
                walk(body, visit);
            }
            StmtKind::Block(block) => visit(Seen::Block(block)),
            StmtKind::Autoescape { value, body, .. } => {
                walk_expr(value, visit);
                walk(body, visit);
            }
            StmtKind::Loader { template, .. } => walk_expr(template, visit),
            StmtKind::Break | StmtKind::Continue => {}
        }
    }
}

pub fn walk_for(node: &For, visit: &mut dyn FnMut(Seen)) {
    walk_expr(&node.target, visit);
    walk_expr(&node.iter, visit);
    walk(&node.body, visit);
    walk(&node.else_, visit);
    node.test.iter().for_each(|test| walk_expr(&test.test, visit));
}

/// Which of `names` the statements read before they bind them.
pub fn find_undeclared(body: &[Stmt], names: &[&'static str]) -> Vec<&'static str> {
    let mut open: Vec<&'static str> = names.to_vec();
    let mut undeclared = vec![];
    walk(body, &mut |seen| {
        if let Seen::Name(name) = seen {
            if let Some(at) = open.iter().position(|open| *open == name.name.text) {
                if name.ctx != Ctx::Load {
                    open.remove(at);
                } else if !undeclared.contains(&open[at]) {
                    undeclared.push(open[at]);
                }
            }
        }
    });
    undeclared
}
