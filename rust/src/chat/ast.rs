//! The parsed template. Names carry the slot that the binding pass gives them.

use std::sync::Arc;

use num_bigint::BigInt;

use super::filters::FilterFunction;
use super::tests::TestFunction;
use super::value::PyStr;

#[derive(Clone, Debug, PartialEq)]
pub enum Const {
    None,
    Bool(bool),
    Int(i64),
    Big(BigInt),
    Float(f64),
    Str(Arc<PyStr>),
}

impl PartialEq for PyStr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for PyStr {}

/// A variable: `hops` functions outwards, then its slot there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Var {
    pub hops: u32,
    pub slot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ctx {
    Load,
    Store,
    Param,
}

#[derive(Clone, Debug)]
pub struct Name {
    pub name: Arc<PyStr>,
    pub ctx: Ctx,
    pub var: Var,
}

#[derive(Clone, Debug)]
pub struct Expr {
    pub line: u32,
    pub kind: ExprKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

impl BinOp {
    pub fn symbol(self) -> &'static str {
        match self {
            BinOp::Add => "+",
            BinOp::Sub => "-",
            BinOp::Mul => "*",
            BinOp::Div => "/",
            BinOp::FloorDiv => "//",
            BinOp::Mod => "%",
            BinOp::Pow => "** or pow()",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

#[derive(Clone, Debug, Default)]
pub struct Args {
    pub positional: Vec<Expr>,
    pub keyword: Vec<(Arc<PyStr>, Expr)>,
    pub dyn_positional: Option<Box<Expr>>,
    pub dyn_keyword: Option<Box<Expr>>,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Const(Const),
    /// Text outside of tags; only among the children of an Output.
    Data(Arc<PyStr>),
    Name(Name),
    /// `namespace.attribute` as a target.
    NsRef(Name, Arc<PyStr>),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(BinOp, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(CmpOp, Expr)>),
    Getattr(Box<Expr>, Arc<PyStr>),
    Getitem(Box<Expr>, Box<Expr>),
    Slice([Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Args),
    /// No operand: the body of a filter block.
    Filter(Option<Box<Expr>>, Arc<PyStr>, Args, Option<FilterFunction>),
    Test(Box<Expr>, Arc<PyStr>, Args, Option<TestFunction>),
    /// test, then, else
    Cond(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

/// How a slot gets its value when a scope is entered.
#[derive(Clone, Debug)]
pub enum Load {
    /// By the caller or the loop.
    Param,
    /// From the context, by name.
    Resolve(Arc<PyStr>),
    /// From an outer scope.
    Alias(Var),
    Missing,
}

pub type Loads = Vec<(u32, Load)>;

#[derive(Debug)]
pub struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
}

/// Variables to publish in the context after an assignment at the top level.
pub type Exports = Vec<(Arc<PyStr>, Var)>;

#[derive(Debug)]
pub enum StmtKind {
    Output(Vec<Expr>),
    For(Arc<For>),
    If {
        test: Expr,
        body: Vec<Stmt>,
        elifs: Vec<(Expr, Vec<Stmt>)>,
        else_: Vec<Stmt>,
    },
    Macro {
        name: Name,
        def: Arc<MacroDef>,
        export: bool,
    },
    /// `generation`: a {% generation %} block, whose text is marked.
    CallBlock {
        call: Option<Expr>,
        def: Arc<MacroDef>,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Stmt>,
        loads: Loads,
    },
    With {
        targets: Vec<Expr>,
        values: Vec<Expr>,
        body: Vec<Stmt>,
        loads: Loads,
    },
    Assign {
        target: Expr,
        value: Expr,
        exports: Exports,
    },
    AssignBlock {
        target: Expr,
        filter: Option<Expr>,
        body: Vec<Stmt>,
        loads: Loads,
        exports: Exports,
    },
    Block(Arc<Block>),
    Autoescape {
        value: Expr,
        body: Vec<Stmt>,
        loads: Loads,
    },
    Break,
    Continue,
    /// include, import, from, extends: there is nothing to load from.
    Loader {
        template: Expr,
        target: Vec<Name>,
    },
}

#[derive(Debug)]
pub struct For {
    pub line: u32,
    pub target: Expr,
    pub iter: Expr,
    pub body: Vec<Stmt>,
    pub else_: Vec<Stmt>,
    pub test: Option<LoopTest>,
    pub recursive: bool,
    /// The slot of `loop`, where the body speaks of it.
    pub loop_var: Option<Var>,
    pub loads: Loads,
    pub else_loads: Loads,
    /// Slots of the function that a recursive loop is.
    pub slots: usize,
}

/// The condition of a loop: a function of its own.
#[derive(Debug)]
pub struct LoopTest {
    pub target: Expr,
    pub test: Expr,
    pub loads: Loads,
    pub slots: usize,
}

#[derive(Debug, Default)]
pub struct MacroDef {
    pub name: Option<Arc<PyStr>>,
    pub line: u32,
    pub args: Vec<Name>,
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
    pub loads: Loads,
    pub slots: usize,
    /// Slots of the names that a body may use without declaring them.
    pub caller: Option<u32>,
    pub kwargs: Option<u32>,
    pub varargs: Option<u32>,
}

#[derive(Debug)]
pub struct Block {
    pub name: Arc<PyStr>,
    pub line: u32,
    pub scoped: bool,
    pub required: bool,
    pub body: Vec<Stmt>,
    pub loads: Loads,
    pub slots: usize,
    pub self_var: Option<u32>,
    pub super_var: Option<u32>,
    /// What a scoped block sees of the place where it stands.
    pub locals: Exports,
}

#[derive(Debug)]
pub struct Template {
    pub body: Vec<Stmt>,
    pub loads: Loads,
    pub slots: usize,
    pub self_var: Option<u32>,
    pub blocks: Vec<Arc<Block>>,
}
