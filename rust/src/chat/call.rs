//! Calls: arguments as Python binds them, macros, methods.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use super::error::{type_error, Res};
use super::repr::repr_str;
use super::runtime::{Interp, MacroValue};
use super::value::{type_name, Dict, PyStr, Value};
use super::{bytes, globals, loops, methods, str_methods};

#[derive(Default, Clone)]
pub struct CallArgs {
    pub positional: Vec<Value>,
    pub keyword: Vec<(Arc<PyStr>, Value)>,
}

/// The name under which a call block hands over its body.
pub fn caller_name() -> Arc<PyStr> {
    static NAME: OnceLock<Arc<PyStr>> = OnceLock::new();
    NAME.get_or_init(|| Arc::new(PyStr::new("caller".to_string()))).clone()
}

impl CallArgs {
    fn take_keyword(&mut self, name: &str) -> Option<Value> {
        let at = self.keyword.iter().position(|(known, _)| known.text == name)?;
        Some(self.keyword.remove(at).1)
    }

    /// One value for each parameter, none where the default holds.
    /// @param required how many of the first parameters have no default.
    pub fn bind<const N: usize>(
        mut self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> Res<[Option<Value>; N]> {
        if self.positional.len() > N {
            let given = self.positional.len();
            return type_error(format!(
                "{function}() takes {N} positional arguments but {given} were given"
            ));
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(std::mem::take(&mut self.positional)) {
            *slot = Some(value);
        }
        for (name, value) in self.keyword {
            match names.iter().position(|known| *known == name.text) {
                None => {
                    let name = repr_str(&name.text);
                    return type_error(format!(
                        "{function}() got an unexpected keyword argument {name}"
                    ));
                }
                Some(at) if bound[at].is_some() => {
                    let name = repr_str(&name.text);
                    return type_error(format!(
                        "{function}() got multiple values for argument {name}"
                    ));
                }
                Some(at) => bound[at] = Some(value),
            }
        }
        if let Some(at) = bound[..required].iter().position(Option::is_none) {
            let name = repr_str(names[at]);
            return type_error(format!(
                "{function}() missing 1 required positional argument: {name}"
            ));
        }
        Ok(bound)
    }

    /// For functions that take positional arguments only.
    pub fn plain(self, function: &str, least: usize, most: usize) -> Res<Vec<Value>> {
        if !self.keyword.is_empty() {
            return type_error(format!("{function}() takes no keyword arguments"));
        }
        let given = self.positional.len();
        if given < least || given > most {
            let message = match (least, most) {
                (0, 0) => format!("{function}() takes no arguments ({given} given)"),
                (1, 1) => format!("{function}() takes exactly one argument ({given} given)"),
                _ if given < least => {
                    format!("{function} expected at least {least} arguments, got {given}")
                }
                _ => format!("{function} expected at most {most} arguments, got {given}"),
            };
            return type_error(message);
        }
        Ok(self.positional)
    }
}

/// Whether a value can be called.
pub fn is_callable(value: &Value) -> bool {
    match value {
        Value::Macro(_)
        | Value::Loop(_)
        | Value::Method(_)
        | Value::Function(_)
        | Value::Joiner(_)
        | Value::Block(_)
        | Value::Undefined(_) => true,
        _ => false,
    }
}

impl Interp {
    pub fn call_value(&mut self, function: &Value, args: CallArgs) -> Res<Value> {
        match function {
            Value::Macro(target) => self.call_macro(&target.clone(), args),
            Value::Method(bound) => self.call_method(&bound.0, bound.1, args),
            Value::Function(name) => globals::call(self, name, args),
            Value::Loop(state) => {
                let items = args.plain("__call__", 1, 1)?;
                loops::recurse(self, &state.clone(), &items[0])
            }
            Value::Joiner(joiner) => {
                args.plain("__call__", 0, 0)?;
                Ok(if joiner.used.replace(true) {
                    joiner.separator.clone()
                } else {
                    Value::str("")
                })
            }
            Value::Block(reference) => {
                args.plain("__call__", 0, 0)?;
                self.call_block(&reference.clone())
            }
            Value::Undefined(undefined) => {
                super::error::fail(undefined.kind, undefined.message.clone())
            }
            other => type_error(format!("'{}' object is not callable", type_name(other))),
        }
    }

    fn call_method(&mut self, object: &Value, name: &'static str, args: CallArgs) -> Res<Value> {
        match object {
            Value::Str(text) => str_methods::call(self, text, name, args),
            Value::Bytes(content) => bytes::call(self, content, name, args),
            Value::Loop(state) => match name {
                "cycle" => loops::cycle(state, args.plain("cycle", 0, usize::MAX)?),
                _ => loops::changed(self, state, args.plain("changed", 0, usize::MAX)?),
            },
            _ => methods::call(self, object, name, args),
        }
    }

    fn call_macro(&mut self, target: &Rc<MacroValue>, args: CallArgs) -> Res<Value> {
        let text = self.call(|interp| {
            let own = interp.activate(target.def.slots, Some(&target.scope));
            let context = target.context.clone();
            let result = interp.in_context(&context, |interp| interp.run_macro(target, args, &own));
            interp.retire(own);
            result
        })?;
        Ok(Value::text(text, self.autoescape))
    }

    fn run_macro(
        &mut self,
        target: &MacroValue,
        mut args: CallArgs,
        own: &super::runtime::Scope,
    ) -> Res<String> {
        let def = &target.def;
        let count = def.args.len();
        let mut values: Vec<Option<Value>> =
            args.positional.iter().take(count).cloned().map(Some).collect();
        let mut found_caller =
            values.len() == count && def.args.iter().any(|arg| arg.name.text == "caller");
        for arg in &def.args[values.len()..] {
            found_caller |= arg.name.text == "caller";
            values.push(args.take_keyword(&arg.name.text));
        }
        let mut caller = None;
        if def.caller.is_some() && !found_caller {
            let given = args.take_keyword("caller").filter(|value| !matches!(value, Value::None));
            caller = Some(given.unwrap_or_else(|| Value::undefined("No caller defined")));
        }
        let shown = def.name.as_ref().map_or("None".to_string(), |name| repr_str(&name.text));
        if let (None, Some((first, _))) = (def.kwargs, args.keyword.first()) {
            if args.keyword.iter().any(|(name, _)| name.text == "caller") {
                return type_error(format!(
                    "macro {shown} was invoked with two values for the special caller argument. This is \
                     most likely a bug."
                ));
            }
            let first = repr_str(&first.text);
            return type_error(format!("macro {shown} takes no keyword argument {first}"));
        }
        if def.varargs.is_none() && args.positional.len() > count {
            return type_error(format!("macro {shown} takes not more than {count} argument(s)"));
        }
        for (arg, value) in def.args.iter().zip(&values) {
            own.set(arg.var, value.clone());
        }
        if let Some(slot) = def.caller {
            own.set_slot(slot, caller);
        }
        if let Some(slot) = def.kwargs {
            let mut dict = Dict::default();
            args.keyword.into_iter().for_each(|(name, value)| dict.insert_text(&name.text, value));
            own.set_slot(slot, Some(Value::dict(dict)));
        }
        if let Some(slot) = def.varargs {
            let rest = args.positional.into_iter().skip(count).collect();
            own.set_slot(slot, Some(Value::tuple(rest)));
        }
        self.enter_scope(&def.loads, own);
        for (at, arg) in def.args.iter().enumerate() {
            if values[at].is_none() {
                let default =
                    (at + def.defaults.len()).checked_sub(count).map(|at| &def.defaults[at]);
                let value = match default {
                    Some(default) => self.eval(default, own)?,
                    None => Value::undefined(format!(
                        "parameter {} was not provided",
                        repr_str(&arg.name.text)
                    )),
                };
                own.set(arg.var, Some(value));
            }
        }
        self.capture(|interp| interp.run_body(&def.body, own))
    }
}
