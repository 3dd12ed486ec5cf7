//! Byte-pair encoding over a vocabulary with scores and no list of merges, as SentencePiece
//! vocabularies in GGUF files are.
//!
//! Deriving the merges (every split of every piece into two pieces, sorted) takes half a minute in
//! Python for 262,144 pieces. It is not needed: two neighbours merge when their concatenation is a
//! piece, and where that merge stands in the sorted list follows from the piece and the place of
//! the split alone. So a merge's rank is computed when it is met. The ids equal those of
//! `transformers` with the derived list; `RankKey` is its sort key.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ahash::{AHashSet, RandomState};
use tokenizers::tokenizer::Token;

const NONE: u32 = u32::MAX;
const SPACE_MARK: char = '\u{2581}';

/// What decides between merges: the piece's priority, then the longer left part, then the longer
/// right part (in characters), then the piece that comes first in the file.
type RankKey = (u32, Reverse<u32>, Reverse<u32>, u32);

pub struct ScoredBpeOptions {
    /// The id for characters that are no piece and have no bytes.
    pub unk_id: Option<u32>,
    /// Neighbouring unknown characters become one token.
    pub fuse_unk: bool,
}

pub struct ScoredBpe {
    arena: String,
    /// Piece i is arena[ends[i - 1] .. ends[i]].
    ends: Vec<u32>,
    /// Open addressing, a power of two of slots, NONE where empty.
    slots: Vec<u32>,
    hasher: RandomState,
    /// By id: 0 merges first. Equal scores have equal priorities.
    priorities: Vec<u32>,
    longest: usize,
    /// The ids of "<0x00>" to "<0xFF>", NONE where there is none.
    bytes: [u32; 256],
    /// The characters that stand before a space mark in some piece: between any other character
    /// and a mark no merge can happen. Nothing where that does not follow.
    before_mark: Option<AHashSet<char>>,
    options: ScoredBpeOptions,
}

struct Symbol {
    id: u32,
    /// Bytes of the text; 0 once merged into its left neighbour.
    size: u32,
    /// Characters of the token's spelling.
    length: u32,
    previous: u32,
    next: u32,
    start: u32,
    /// Whether the token's spelling is what stands in the text (not so for bytes and unknowns).
    literal: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: RankKey,
    position: u32,
    id: u32,
}

impl ScoredBpe {
    /// `priorities` has one entry a token. A token given twice is found under its later id.
    pub fn new<'a>(
        tokens: impl ExactSizeIterator<Item = &'a str>,
        priorities: Vec<u32>,
        options: ScoredBpeOptions,
    ) -> Result<Self, String> {
        let count = tokens.len();
        assert_eq!(count, priorities.len());
        let mut arena = String::with_capacity(count * 8);
        let mut ends = Vec::with_capacity(count);
        let mut longest = 0;
        for token in tokens {
            arena.push_str(token);
            longest = longest.max(token.len());
            ends.push(u32::try_from(arena.len()).map_err(|_| "tokens longer than 4 GiB together")?);
        }
        let mut model = ScoredBpe {
            arena,
            ends,
            slots: vec![NONE; (count * 2).next_power_of_two().max(2)],
            hasher: RandomState::with_seeds(1, 2, 3, 4),
            priorities,
            longest,
            bytes: [NONE; 256],
            before_mark: None,
            options,
        };
        for id in 0..count as u32 {
            let slot = model.slot_of(model.piece(id));
            model.slots[slot] = id;
        }
        for byte in 0..256 {
            model.bytes[byte] = model.find(&format!("<0x{byte:02X}>"));
        }
        model.before_mark = model.characters_before_mark();
        Ok(model)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        Some(self.find(token)).filter(|id| *id != NONE)
    }

    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        ((id as usize) < self.len()).then(|| self.piece(id))
    }

    pub fn vocabulary(&self) -> HashMap<String, u32> {
        (0..self.len() as u32).map(|id| (self.piece(id).to_string(), id)).collect()
    }

    fn piece(&self, id: u32) -> &str {
        let index = id as usize;
        let begin = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.arena[begin..self.ends[index] as usize]
    }

    /// The slot that holds `text`, or the empty one where it belongs.
    fn slot_of(&self, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.slots[slot] != NONE && self.piece(self.slots[slot]) != text {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn find(&self, text: &str) -> u32 {
        if text.len() > self.longest {
            return NONE;
        }
        self.slots[self.slot_of(text)]
    }

    fn characters_before_mark(&self) -> Option<AHashSet<char>> {
        // A character that nothing stands for leaves its neighbours next to each other.
        let every_byte = self.bytes.iter().all(|id| *id != NONE);
        if !every_byte || self.find(SPACE_MARK.encode_utf8(&mut [0; 4])) == NONE {
            return None;
        }
        let mut before = AHashSet::new();
        for id in 0..self.len() as u32 {
            let piece = self.piece(id);
            for (at, _) in piece.match_indices(SPACE_MARK).filter(|(at, _)| *at > 0) {
                // A byte's spelling can stand for any character of the text.
                let left = &piece.as_bytes()[..at];
                if left.ends_with(b">")
                    && left.len() >= 6
                    && left[left.len() - 6..].starts_with(b"<0x")
                {
                    return None;
                }
                before.extend(piece[..at].chars().next_back());
            }
        }
        Some(before)
    }

    /// Cuts a text where no merge can reach across: short stretches merge faster than long ones.
    fn stretches<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let mut begin = 0;
        let mut marks = text.match_indices(SPACE_MARK);
        std::iter::from_fn(move || {
            let before_mark = self.before_mark.as_ref();
            let cut = marks.find(|(at, _)| {
                let previous = text[begin..*at].chars().next_back();
                matches!((previous, before_mark), (Some(c), Some(set)) if !set.contains(&c))
            });
            let end = cut.map_or(text.len(), |(at, _)| at);
            let stretch = &text[begin..end];
            begin = end;
            (!stretch.is_empty()).then_some(stretch)
        })
    }

    pub fn tokenize(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut start = 0;
        for stretch in self.stretches(text) {
            self.tokenize_stretch(stretch, &mut start, &mut tokens);
        }
        tokens
    }

    fn tokenize_stretch(&self, text: &str, start: &mut usize, tokens: &mut Vec<Token>) {
        let mut symbols = self.characters(text);
        self.merge(text, &mut symbols);
        // Offsets add up the sizes, so that they run on over a character that nothing stands for,
        // as those of the crate's BPE do.
        for symbol in symbols.iter().filter(|symbol| symbol.size != 0) {
            let offsets = (*start, *start + symbol.size as usize);
            *start = offsets.1;
            tokens.push(Token::new(symbol.id, self.piece(symbol.id).to_string(), offsets));
        }
    }

    fn characters(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
        let mut buffer = [0u8; 4];
        let mut fusing = false;
        for (start, character) in text.char_indices() {
            let spelling: &str = character.encode_utf8(&mut buffer);
            let start = start as u32;
            let id = self.find(spelling);
            if id != NONE {
                self.push(&mut symbols, id, start, spelling.len() as u32, true);
                fusing = false;
                continue;
            }
            if spelling.bytes().all(|byte| self.bytes[byte as usize] != NONE) {
                fusing = false;
                for (index, byte) in spelling.bytes().enumerate() {
                    let id = self.bytes[byte as usize];
                    self.push(&mut symbols, id, start + index as u32, 1, false);
                }
                continue;
            }
            let Some(unk_id) = self.options.unk_id else { continue };
            match symbols.last_mut() {
                Some(last) if fusing && self.options.fuse_unk && last.id == unk_id => {
                    last.size += spelling.len() as u32;
                }
                _ => self.push(&mut symbols, unk_id, start, spelling.len() as u32, false),
            }
            fusing = true;
        }
        symbols
    }

    fn push(&self, symbols: &mut Vec<Symbol>, id: u32, start: u32, size: u32, literal: bool) {
        let index = symbols.len() as u32;
        if let Some(last) = symbols.last_mut() {
            last.next = index;
        }
        let previous = if index == 0 { NONE } else { index - 1 };
        let length = if literal { 1 } else { self.piece(id).chars().count() as u32 };
        symbols.push(Symbol { id, size, length, previous, next: NONE, start, literal });
    }

    fn merge(&self, text: &str, symbols: &mut [Symbol]) {
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for left in 1..symbols.len() {
            self.propose(text, symbols, left - 1, left, &mut queue);
        }
        while let Some(Reverse(top)) = queue.pop() {
            let left = top.position as usize;
            let next = symbols[left].next;
            if symbols[left].size == 0 || next == NONE {
                continue;
            }
            let right = next as usize;
            // The entry is stale when either side has merged since, unless what stands there now
            // merges to the same piece.
            if self.merged(text, &symbols[left], &symbols[right]) != top.id {
                continue;
            }
            symbols[left].literal = adjoin(&symbols[left], &symbols[right]);
            symbols[left].size += symbols[right].size;
            symbols[left].length += symbols[right].length;
            symbols[left].next = symbols[right].next;
            symbols[left].id = top.id;
            symbols[right].size = 0;
            let after = symbols[left].next;
            if after != NONE {
                symbols[after as usize].previous = left as u32;
                self.propose(text, symbols, left, after as usize, &mut queue);
            }
            let before = symbols[left].previous;
            if before != NONE {
                self.propose(text, symbols, before as usize, left, &mut queue);
            }
        }
    }

    fn propose(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: usize,
        right: usize,
        queue: &mut BinaryHeap<Reverse<Candidate>>,
    ) {
        let id = self.merged(text, &symbols[left], &symbols[right]);
        if id == NONE {
            return;
        }
        let (left_length, right_length) = (symbols[left].length, symbols[right].length);
        let rank = (self.priorities[id as usize], Reverse(left_length), Reverse(right_length), id);
        queue.push(Reverse(Candidate { rank, position: left as u32, id }));
    }

    /// The piece that two neighbours make together, or NONE.
    fn merged(&self, text: &str, left: &Symbol, right: &Symbol) -> u32 {
        if adjoin(left, right) {
            let start = left.start as usize;
            return self.find(&text[start..start + (left.size + right.size) as usize]);
        }
        let mut spelling = self.piece(left.id).to_string();
        spelling.push_str(self.piece(right.id));
        self.find(&spelling)
    }
}

/// Whether what stands in the text from the one's beginning to the other's end spells both.
fn adjoin(left: &Symbol, right: &Symbol) -> bool {
    left.literal && right.literal && left.start + left.size == right.start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tokens: &[&str], scores: &[f32]) -> ScoredBpe {
        let priorities = crate::vocab::priorities_from_scores(scores);
        let options = ScoredBpeOptions { unk_id: Some(0), fuse_unk: true };
        ScoredBpe::new(tokens.iter().copied(), priorities, options).unwrap()
    }

    fn ids(model: &ScoredBpe, text: &str) -> Vec<u32> {
        model.tokenize(text).iter().map(|token| token.id).collect()
    }

    #[test]
    fn merges_by_score_not_by_length() {
        let tokens = ["<unk>", "a", "b", "c", "ab", "bc", "abc"];
        assert_eq!(ids(&model(&tokens, &[0., 0., 0., 0., -2., -1., -9.]), "abc"), [6]);
        assert_eq!(ids(&model(&tokens[..6], &[0., 0., 0., 0., -2., -1.]), "abc"), [1, 5]);
        assert_eq!(ids(&model(&tokens[..6], &[0., 0., 0., 0., -1., -2.]), "abc"), [4, 3]);
    }

    #[test]
    fn a_cut_before_a_mark_changes_nothing() {
        let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        let text = "a\u{2581}\u{2581}a\u{2581}";
        let with = |pieces: &[&str]| {
            let mut tokens: Vec<&str> = pieces.to_vec();
            tokens.extend(bytes.iter().map(String::as_str));
            let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
            model(&tokens, &scores)
        };
        let cut = with(&["<unk>", "\u{2581}", "a", "\u{2581}a", "\u{2581}\u{2581}"]);
        assert_eq!(cut.stretches(text).count(), 3);
        assert_eq!(ids(&cut, text), [2, 1, 3, 1]);
        let whole = with(&["<unk>", "\u{2581}", "a", "\u{2581}a", "a\u{2581}"]);
        assert_eq!(whole.stretches(text).count(), 2);
        assert_eq!(ids(&whole, text), [4, 3, 1]);
        let odd = with(&["<unk>", "\u{2581}", "a", "<0xC3>\u{2581}"]);
        assert_eq!(odd.stretches(text).count(), 1);
    }

    #[test]
    fn a_merge_longer_than_the_text_around_is_not_found() {
        let tokens = ["<unk>", "a", "aa", "aaaa"];
        assert_eq!(ids(&model(&tokens, &[0., 0., -1., -2.]), "aaaaaaa"), [3, 2, 1]);
    }

    #[test]
    fn unknown_characters_fuse() {
        let tokens = ["<unk>", "a"];
        let model = model(&tokens, &[0., 0.]);
        assert_eq!(ids(&model, "éèa日"), [0, 1, 0]);
        let offsets: Vec<_> = model.tokenize("éèa日").iter().map(|token| token.offsets).collect();
        assert_eq!(offsets, [(0, 4), (4, 5), (5, 8)]);
    }

    #[test]
    fn bytes_stand_for_characters_that_are_no_piece() {
        let tokens = ["<unk>", "<0xC3>", "<0xA9>", "e"];
        assert_eq!(ids(&model(&tokens, &[0.; 4]), "eé"), [3, 1, 2]);
    }
}
