//! How byte-level vocabularies in GGUF files cut a text before merging: `tokenizer.ggml.pre` names
//! the tokenizer that the vocabulary came from, and its regular expressions stand here.
//!
//! Sources: the `tokenizer.json` files of the models named; llama.cpp for which name means which.

pub struct PreTokenizer {
    names: &'static [&'static str],
    /// Applied one after the other, each to what the ones before left as pieces.
    pub splits: &'static [&'static str],
    /// The text is normalised to NFC first.
    pub nfc: bool,
    /// A piece that is a token as a whole is not put together by merges.
    pub ignore_merges: bool,
    /// Whether BOS is put first when the file does not say.
    pub add_bos: bool,
}

const fn plain(names: &'static [&'static str], splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { names, splits, nfc: false, ignore_merges: false, add_bos: false }
}

const fn with_nfc(names: &'static [&'static str], splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { nfc: true, ..plain(names, splits) }
}

const fn whole(names: &'static [&'static str], splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { ignore_merges: true, ..plain(names, splits) }
}

const fn with_bos(names: &'static [&'static str], splits: &'static [&'static str]) -> PreTokenizer {
    PreTokenizer { add_bos: true, ..whole(names, splits) }
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const LLAMA3_WHOLE_NUMBERS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const NO_CONTRACTIONS: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";

const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";

const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const GPT4O_SINGLE_DIGITS: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

const BLOOM: &str = " ?[^(\\s|.,!?…。，、।۔،)]+";

const CJK_AND_KANA: &str = "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";

const CJK_TO_HANGUL: &str = "[\u{4E00}-\u{9FA5}\u{0800}-\u{4E00}\u{AC00}-\u{D7FF}]+";

const EAST_ASIAN_SCRIPTS: &str = "[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+\
     |[！…“”‘’—：；，、\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+\
     |[\u{3105}-\u{312F}]+\
     |[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";

const DEEPSEEK_PUNCTUATION: &str =
    "\\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+";

/// The letters with case that DeepSeek's first tokenizer joins to words.
const DEEPSEEK_LETTERS: &str = "\\s?[\
     \u{41}-\u{5A}\u{61}-\u{7A}\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\
     \u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\u{370}-\u{373}\u{376}\u{377}\
     \u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\
     \u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\
     \u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\
     \u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\
     \u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\
     \u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\
     \u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\
     \u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\
     \u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\
     \u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\
     \u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\
     \u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\
     \u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\
     \u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\
     \u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+";

const PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|]+";
const PUNCTUATION_AND_BACKTICK: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
const UP_TO_THREE_DIGITS: &str = r"\p{N}{1,3}";
const DIGIT: &str = r"\p{N}";
const NUMBER: &str = r"\p{N}+";
const LINE_BREAK: &str = r"[\r\n]";
const LINES: &str = r"[^\n]+|[\n]+";

#[rustfmt::skip]
const TABLE: &[PreTokenizer] = &[
    plain(&["gpt-2", "phi-2", "mpt", "jais", "trillion", "granite-docling", "jina-es", "jina-de",
            "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe", "gigachat",
            "a.x-4.0", "mellum", "modern-bert", "exaone4"], &[GPT2]),
    with_nfc(&["olmo"], &[GPT2]),
    plain(&["default"], &[PUNCTUATION, GPT2, NUMBER, THREE_DIGITS]),
    with_bos(&["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
               "lfm2", "jina-v5-nano"], &[LLAMA3]),
    plain(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3]),
    with_nfc(&["qwen2"], &[QWEN2]),
    plain(&["deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open",
            "grok-2"], &[QWEN2]),
    with_nfc(&["qwen35"], &[QWEN35]),
    plain(&["starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
          &[DIGIT, GPT2]),
    with_nfc(&["command-r"], &[DIGIT, GPT2]),
    plain(&["falcon"], &[PUNCTUATION_AND_BACKTICK, GPT2, THREE_DIGITS]),
    with_bos(&["tekken"], &[TEKKEN]),
    plain(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    plain(&["deepseek-llm"], &[LINE_BREAK, DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$",
                               CJK_TO_HANGUL, NUMBER]),
    plain(&["deepseek-coder"], &[LINE_BREAK, r"\s?\p{L}+", r"\s?\p{P}+", CJK_TO_HANGUL, DIGIT]),
    plain(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
          &[UP_TO_THREE_DIGITS, CJK_AND_KANA, DEEPSEEK3]),
    whole(&["youtu"], &[EAST_ASIAN_SCRIPTS, GPT4O_SINGLE_DIGITS]),
    whole(&["minicpm5"], &[UP_TO_THREE_DIGITS, LLAMA3_WHOLE_NUMBERS]),
    plain(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    plain(&["viking"], &[BLOOM, DIGIT]),
    plain(&["jais-2"], &[JAIS2]),
    plain(&["tiny_aya", "cohere2moe"], &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O]),
    plain(&["superbpe"], &[NUMBER, r"(?=(\d{3})+(?!\d))"]),
    plain(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    plain(&["seed-coder"], &[SEED_CODER]),
    plain(&["exaone-moe"], &[EXAONE_MOE]),
    plain(&["ufakzeka"], &[NO_CONTRACTIONS]),
    plain(&["laguna"], &[LINES, QWEN2]),
    PreTokenizer {
        add_bos: true,
        ..plain(&["chameleon"], &["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                                  "([\\t\\n]|    |  )", DIGIT, r"[\p{P}!-/:-@\[-`{-~]", GPT2])
    },
];

/// The entry of that name. An empty name, in files older than the field, means GPT-2's.
pub fn find(name: &str) -> Option<&'static PreTokenizer> {
    let name = if name.is_empty() { "gpt-2" } else { name };
    TABLE.iter().find(|entry| entry.names.contains(&name))
}

/// All names, for messages.
pub fn names() -> String {
    let mut names: Vec<_> = TABLE.iter().flat_map(|entry| entry.names.iter().copied()).collect();
    names.sort_unstable();
    names.join(", ")
}
