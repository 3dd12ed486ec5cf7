//! The filters by name.

use super::call::CallArgs;
use super::error::Res;
use super::runtime::Interp;
use super::value::Value;
use super::{filters_number as number, filters_seq as seq, filters_text as text, json};

pub type FilterFunction = fn(&mut Interp, Value, CallArgs) -> Res<Value>;

static FILTERS: [(&str, FilterFunction); 54] = [
    ("abs", number::abs),
    ("attr", seq::attr),
    ("batch", seq::batch),
    ("capitalize", text::capitalize),
    ("center", text::center),
    ("count", seq::length),
    ("d", seq::default),
    ("default", seq::default),
    ("dictsort", seq::dictsort),
    ("e", text::escape),
    ("escape", text::escape),
    ("filesizeformat", number::filesizeformat),
    ("first", seq::first),
    ("float", number::float),
    ("forceescape", text::forceescape),
    ("format", text::format),
    ("groupby", seq::groupby),
    ("indent", text::indent),
    ("int", number::int),
    ("items", seq::items),
    ("join", seq::join),
    ("last", seq::last),
    ("length", seq::length),
    ("list", seq::list),
    ("lower", text::lower),
    ("map", seq::map),
    ("max", seq::max),
    ("min", seq::min),
    ("pprint", text::pprint),
    ("random", seq::random),
    ("reject", seq::reject),
    ("rejectattr", seq::rejectattr),
    ("replace", text::replace),
    ("reverse", seq::reverse),
    ("round", number::round),
    ("safe", text::safe),
    ("select", seq::select),
    ("selectattr", seq::selectattr),
    ("slice", seq::slice),
    ("sort", seq::sort),
    ("string", text::string),
    ("striptags", text::striptags),
    ("sum", seq::sum),
    ("title", text::title),
    ("tojson", json::filter),
    ("trim", text::trim),
    ("truncate", text::truncate),
    ("unique", seq::unique),
    ("upper", text::upper),
    ("urlencode", text::urlencode),
    ("urlize", text::urlize),
    ("wordcount", text::wordcount),
    ("wordwrap", text::wordwrap),
    ("xmlattr", text::xmlattr),
];

pub fn lookup(name: &str) -> Option<FilterFunction> {
    let found = FILTERS.iter().find(|(known, _)| *known == name)?;
    Some(found.1)
}
