package main

import (
	"regexp"
	"strings"
)

// A rule is a wording that this repository does not use, and what it uses instead.
type rule struct {
	not *regexp.Regexp
	but string
	why string
}

// not returns a rule for the whole words that a regular expression matches, in upper or
// lower case, even across the ends of lines.
func not(words, but, why string) rule {
	words = strings.ReplaceAll(words, " ", `\s+`)
	return rule{regexp.MustCompile(`(?i)\b(?:` + words + `)\b`), but, why}
}

const (
	american  = "American spelling, as in the standard library"
	idiom     = "a figure of speech that many readers do not know"
	inversion = "an inversion, which needs a second reading"
	ambiguous = "it has two meanings, and the reader has to guess"
	oneWord   = "one name per concept"
)

var rules = []rule{
	not(`catalogues?`, "catalog", american),
	not(`cancell(ed|ing)`, "canceled, canceling", american),
	not(`(mis)?behaviours?`, "behavior", american),
	not(`honour(ed|s|ing)?`, "honor", american),
	not(`(colour|favour|favourite|neighbour)s?`, "color, favor, favorite, neighbor", american),
	not(`(organ|author|normal|real|recogn|serial|synchron|initial|util)is(es?|ed|ing|ations?)`, "-ize", american),
	not(`for ever`, "forever", american),

	not(`tells? whether`, "reports whether", "the standard library's words for a boolean result"),
	not(`time-outs?`, "timeout", oneWord),
	not(`repetitions?`, "retry, replay or duplicate", oneWord+": a client retries, a store replays, a duplicate comes at the same time"),
	not(`at once`, "immediately, or: at the same time", ambiguous),

	not(`of (its|their|our|your|his|her|my) own`, "its own X", inversion),
	not(`be it`, "whether it is", inversion),
	not(`nil is (nobody|no one|none|nothing)`, "If nil, …", inversion),
	not(`trusts? nobody`, "no one is trusted", inversion),
	not(`faults? of (theirs|his|ours|yours)`, "the client's fault", inversion),

	not(`in vain`, "pointless, without effect", idiom),
	not(`without a word`, "silently, without writing", idiom),
	not(`goes? on up`, "is re-panicked, is passed on", idiom),
	not(`made-up`, "invalid, unknown", idiom),
	not(`pass(es)? for`, "is mistaken for", idiom),
	not(`as told`, "as expected", idiom),
	not(`be(comes?|came) of (it|them|a|an|the)`, "the outcome of, what happens to", idiom),
}
