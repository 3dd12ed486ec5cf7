//! Statements of the template language, as jinja2's parser takes them, with the loop controls and
//! the generation tag that chat templates add.

use std::sync::Arc;

use super::ast::*;
use super::error::{fail_at, Kind, Res};
use super::lexer::{describe, tokenize, Tok, Token};
use super::repr::repr_str;
use super::value::PyStr;

/// Levels of blocks and brackets: more than any template has, few enough for the stack.
const MAX_NESTING: u32 = 150;

pub struct Parser {
    tokens: Vec<Token>,
    at: usize,
    tags: Vec<String>,
    ends: Vec<&'static [&'static str]>,
    nesting: u32,
}

pub fn parse(source: &str) -> Res<Vec<Stmt>> {
    let tokens = tokenize(source)?;
    let mut parser = Parser { tokens, at: 0, tags: vec![], ends: vec![], nesting: 0 };
    parser.subparse(None)
}

impl Parser {
    pub fn peek(&self) -> &Tok {
        &self.tokens[self.at].tok
    }
    pub fn look(&self) -> &Tok {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].tok
    }
    pub fn line(&self) -> u32 {
        self.tokens[self.at].line
    }
    pub fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }
    pub fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }
    pub fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if found.text == name)
    }
    pub fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }
    pub fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }
    pub fn fail<T>(&self, message: impl Into<String>) -> Res<T> {
        fail_at(Kind::Syntax, self.line(), message)
    }
    pub fn unexpected<T>(&self, expected: &str) -> Res<T> {
        let expected = repr_str(expected);
        if *self.peek() == Tok::Eof {
            return self.fail(format!("unexpected end of template, expected {expected}."));
        }
        self.fail(format!("expected token {expected}, got {}", repr_str(&describe(self.peek()))))
    }
    pub fn expect_op(&mut self, op: &str) -> Res<()> {
        if self.skip_op(op) {
            Ok(())
        } else {
            self.unexpected(op)
        }
    }
    pub fn expect_name(&mut self) -> Res<Arc<PyStr>> {
        match self.peek().clone() {
            Tok::Name(name) => {
                self.next();
                Ok(name)
            }
            _ => self.unexpected("name"),
        }
    }
    fn expect_word(&mut self, word: &str) -> Res<()> {
        if self.skip_name(word) {
            Ok(())
        } else {
            self.unexpected(word)
        }
    }
    fn expect_tok(&mut self, tok: Tok) -> Res<()> {
        if *self.peek() == tok {
            self.next();
            return Ok(());
        }
        let expected = describe(&tok);
        self.unexpected(&expected)
    }
    /// Counts a level in; the caller counts it out.
    pub fn enter(&mut self) -> Res<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.fail("too deeply nested");
        }
        Ok(())
    }
    pub fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn fail_eof<T>(&self, name: Option<&str>, line: u32) -> Res<T> {
        let mut message = match name {
            None => "Unexpected end of template.".to_string(),
            Some(name) => format!("Encountered unknown tag {}.", repr_str(name)),
        };
        if let Some(last) = self.ends.last() {
            let looking: Vec<String> = last.iter().map(|end| repr_str(end)).collect();
            let looking = looking.join(" or ");
            let known = name.is_some_and(|name| self.ends.iter().any(|ends| ends.contains(&name)));
            message.push_str(&if known {
                format!(
                    " You probably made a nesting mistake. Jinja is expecting this tag, but \
                     currently looking for {looking}."
                )
            } else {
                format!(" Jinja was looking for the following tags: {looking}.")
            });
        }
        if let Some(tag) = self.tags.last() {
            let tag = repr_str(tag);
            message.push_str(&format!(" The innermost block that needs to be closed is {tag}."));
        }
        fail_at(Kind::Syntax, line, message)
    }

    fn subparse(&mut self, ends: Option<&'static [&'static str]>) -> Res<Vec<Stmt>> {
        if let Some(ends) = ends {
            self.ends.push(ends);
        }
        self.enter()?;
        let mut body = vec![];
        let mut output: Vec<Expr> = vec![];
        loop {
            let line = self.line();
            match self.peek().clone() {
                Tok::Data(text) => {
                    output.push(Expr { line, kind: ExprKind::Data(text) });
                    self.next();
                }
                Tok::VariableBegin => {
                    self.next();
                    output.push(self.parse_tuple(true, &[], false)?);
                    self.expect_tok(Tok::VariableEnd)?;
                }
                Tok::BlockBegin => {
                    flush(&mut body, &mut output);
                    self.next();
                    if ends.is_some_and(|ends| ends.iter().any(|end| self.is_name(end))) {
                        break;
                    }
                    let statement = self.parse_statement()?;
                    body.push(statement);
                    self.expect_tok(Tok::BlockEnd)?;
                }
                _ => break,
            }
        }
        flush(&mut body, &mut output);
        self.leave();
        if ends.is_some() {
            // Still on the stack for the message about a template that ends too early.
            if *self.peek() == Tok::Eof {
                return self.fail_eof(None, self.line());
            }
            self.ends.pop();
        }
        Ok(body)
    }

    /// The body of a statement, up to one of the end tags, which stays.
    fn parse_statements(&mut self, ends: &'static [&'static str]) -> Res<Vec<Stmt>> {
        self.skip_op(":");
        self.expect_tok(Tok::BlockEnd)?;
        self.subparse(Some(ends))
    }

    fn parse_body(&mut self, ends: &'static [&'static str]) -> Res<Vec<Stmt>> {
        let body = self.parse_statements(ends)?;
        self.next();
        Ok(body)
    }

    fn parse_statement(&mut self) -> Res<Stmt> {
        let line = self.line();
        let Tok::Name(tag) = self.peek().clone() else {
            return self.fail("tag name expected");
        };
        self.tags.push(tag.text.clone());
        let kind = match tag.text.as_str() {
            "for" => self.parse_for(line),
            "if" => self.parse_if(),
            "set" => self.parse_set(),
            "macro" => self.parse_macro(line),
            "call" => self.parse_call_block(line),
            "filter" => self.parse_filter_block(),
            "with" => self.parse_with(),
            "block" => self.parse_block(line),
            "print" => self.parse_print(),
            "autoescape" => self.parse_autoescape(),
            "include" | "import" | "from" | "extends" => self.parse_loader(&tag.text),
            "generation" => self.parse_generation(line),
            "break" => {
                self.next();
                Ok(StmtKind::Break)
            }
            "continue" => {
                self.next();
                Ok(StmtKind::Continue)
            }
            unknown => {
                self.tags.pop();
                return self.fail_eof(Some(unknown), line);
            }
        }?;
        self.tags.pop();
        Ok(Stmt { line, kind })
    }

    fn parse_for(&mut self, line: u32) -> Res<StmtKind> {
        self.next();
        let target = self.parse_target(&["in"], false)?;
        self.expect_word("in")?;
        let iter = self.parse_tuple(false, &["recursive"], false)?;
        let test = if self.skip_name("if") { Some(self.parse_expression(true)?) } else { None };
        let recursive = self.skip_name("recursive");
        let body = self.parse_statements(&["endfor", "else"])?;
        let mut else_ = vec![];
        if !self.is_name("endfor") {
            self.next();
            else_ = self.parse_statements(&["endfor"])?;
        }
        self.next();
        let test =
            test.map(|test| LoopTest { target: target.clone(), test, loads: vec![], slots: 0 });
        Ok(StmtKind::For(Arc::new(For {
            line,
            target,
            iter,
            body,
            else_,
            test,
            recursive,
            loop_var: None,
            loads: vec![],
            else_loads: vec![],
            slots: 0,
        })))
    }

    fn parse_if(&mut self) -> Res<StmtKind> {
        const ENDS: &[&str] = &["elif", "else", "endif"];
        self.next();
        let test = self.parse_tuple(false, &[], false)?;
        let body = self.parse_statements(ENDS)?;
        let mut elifs = vec![];
        let mut else_ = vec![];
        loop {
            if self.skip_name("elif") {
                let test = self.parse_tuple(false, &[], false)?;
                elifs.push((test, self.parse_statements(ENDS)?));
            } else if self.skip_name("else") {
                else_ = self.parse_body(&["endif"])?;
                break;
            } else {
                self.next();
                break;
            }
        }
        Ok(StmtKind::If { test, body, elifs, else_ })
    }

    fn parse_set(&mut self) -> Res<StmtKind> {
        self.next();
        let target = self.parse_target(&[], true)?;
        if self.skip_op("=") {
            let value = self.parse_tuple(true, &[], false)?;
            return Ok(StmtKind::Assign { target, value, exports: vec![] });
        }
        let filter = self.parse_filter(None, false)?;
        let body = self.parse_body(&["endset"])?;
        Ok(StmtKind::AssignBlock { target, filter, body, loads: vec![], exports: vec![] })
    }

    fn parse_signature(&mut self) -> Res<(Vec<Name>, Vec<Expr>)> {
        let (mut args, mut defaults): (Vec<Name>, Vec<Expr>) = (vec![], vec![]);
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !args.is_empty() {
                self.expect_op(",")?;
            }
            let arg = self.parse_name_target(Ctx::Param)?;
            if self.skip_op("=") {
                defaults.push(self.parse_expression(true)?);
            } else if !defaults.is_empty() {
                return self.fail("non-default argument follows default argument");
            }
            if args.iter().any(|earlier| earlier.name == arg.name) {
                let name = repr_str(&arg.name.text);
                return self.fail(format!("duplicate argument {name} in function definition"));
            }
            args.push(arg);
        }
        self.expect_op(")")?;
        Ok((args, defaults))
    }

    fn parse_macro(&mut self, line: u32) -> Res<StmtKind> {
        self.next();
        let name = self.parse_name_target(Ctx::Store)?;
        let (args, defaults) = self.parse_signature()?;
        let body = self.parse_body(&["endmacro"])?;
        let def = MacroDef {
            name: Some(name.name.clone()),
            line,
            args,
            defaults,
            body,
            ..Default::default()
        };
        Ok(StmtKind::Macro { name, def: Arc::new(def), export: false })
    }

    fn parse_call_block(&mut self, line: u32) -> Res<StmtKind> {
        self.next();
        let (args, defaults) =
            if self.is_op("(") { self.parse_signature()? } else { (vec![], vec![]) };
        let call = self.parse_expression(true)?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return fail_at(Kind::Syntax, line, "expected call");
        }
        let body = self.parse_body(&["endcall"])?;
        let def = MacroDef { line, args, defaults, body, ..Default::default() };
        Ok(StmtKind::CallBlock { call: Some(call), def: Arc::new(def) })
    }

    fn parse_generation(&mut self, line: u32) -> Res<StmtKind> {
        self.next();
        let body = self.parse_body(&["endgeneration"])?;
        let def = MacroDef { line, body, ..Default::default() };
        Ok(StmtKind::CallBlock { call: None, def: Arc::new(def) })
    }

    fn parse_filter_block(&mut self) -> Res<StmtKind> {
        self.next();
        let filter = match self.parse_filter(None, true)? {
            Some(filter) => filter,
            None => return self.unexpected("name"),
        };
        let body = self.parse_body(&["endfilter"])?;
        Ok(StmtKind::FilterBlock { filter, body, loads: vec![] })
    }

    fn parse_with(&mut self) -> Res<StmtKind> {
        self.next();
        let (mut targets, mut values) = (vec![], vec![]);
        while *self.peek() != Tok::BlockEnd {
            if !targets.is_empty() {
                self.expect_op(",")?;
            }
            let mut target = self.parse_target(&[], false)?;
            set_ctx(&mut target, Ctx::Param);
            targets.push(target);
            self.expect_op("=")?;
            values.push(self.parse_expression(true)?);
        }
        let body = self.parse_body(&["endwith"])?;
        Ok(StmtKind::With { targets, values, body, loads: vec![] })
    }

    fn parse_autoescape(&mut self) -> Res<StmtKind> {
        self.next();
        let value = self.parse_expression(true)?;
        let body = self.parse_body(&["endautoescape"])?;
        Ok(StmtKind::Autoescape { value, body, loads: vec![] })
    }

    fn parse_print(&mut self) -> Res<StmtKind> {
        self.next();
        let mut nodes = vec![];
        while *self.peek() != Tok::BlockEnd {
            if !nodes.is_empty() {
                self.expect_op(",")?;
            }
            nodes.push(self.parse_expression(true)?);
        }
        Ok(StmtKind::Output(nodes))
    }

    fn parse_block(&mut self, line: u32) -> Res<StmtKind> {
        self.next();
        let name = self.expect_name()?;
        let scoped = self.skip_name("scoped");
        let required = self.skip_name("required");
        if self.is_op("-") {
            return self.fail(
                "Block names in Jinja have to be valid Python identifiers and may not contain \
                 hyphens, use an underscore instead.",
            );
        }
        let body = self.parse_body(&["endblock"])?;
        let blank = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Output(nodes) => nodes.iter().all(|node| match &node.kind {
                ExprKind::Data(text) => text.text.chars().all(super::unicode::is_space),
                _ => false,
            }),
            _ => false,
        };
        if required && !body.iter().all(blank) {
            return self.fail("Required blocks can only contain comments or whitespace");
        }
        self.skip_name(&name.text);
        Ok(StmtKind::Block(Arc::new(Block {
            name,
            line,
            scoped,
            required,
            body,
            loads: vec![],
            slots: 0,
            self_var: None,
            super_var: None,
            locals: vec![],
        })))
    }

    fn skip_context_words(&mut self) {
        let context = matches!(self.look(), Tok::Name(name) if name.text == "context");
        if context && (self.is_name("with") || self.is_name("without")) {
            self.next();
            self.next();
        }
    }

    fn parse_loader(&mut self, tag: &str) -> Res<StmtKind> {
        self.next();
        let template = self.parse_expression(true)?;
        let mut target = vec![];
        match tag {
            "include" => {
                let missing = matches!(self.look(), Tok::Name(name) if name.text == "missing");
                if self.is_name("ignore") && missing {
                    self.next();
                    self.next();
                }
            }
            "import" => {
                self.expect_word("as")?;
                target.push(self.parse_name_target(Ctx::Store)?);
            }
            "from" => {
                self.expect_word("import")?;
                loop {
                    let mut name = self.parse_name_target(Ctx::Store)?;
                    if name.name.text.starts_with('_') {
                        return self.fail("names starting with an underline can not be imported");
                    }
                    if self.skip_name("as") {
                        name = self.parse_name_target(Ctx::Store)?;
                    }
                    target.push(name);
                    self.skip_context_words();
                    if !self.skip_op(",") {
                        break;
                    }
                }
            }
            _ => {}
        }
        self.skip_context_words();
        Ok(StmtKind::Loader { template, target })
    }
}

fn flush(body: &mut Vec<Stmt>, output: &mut Vec<Expr>) {
    if let Some(first) = output.first() {
        let line = first.line;
        body.push(Stmt { line, kind: StmtKind::Output(std::mem::take(output)) });
    }
}

pub fn set_ctx(target: &mut Expr, ctx: Ctx) {
    match &mut target.kind {
        ExprKind::Name(name) => name.ctx = ctx,
        ExprKind::Tuple(items) => items.iter_mut().for_each(|item| set_ctx(item, ctx)),
        _ => {}
    }
}
