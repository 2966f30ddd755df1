package reference

// member describes a member of the error object. Its meaning is Markdown.
type member struct {
	Name     string
	Required bool
	Meaning  string
}

// members has all members, in the order in which the renderer sends them.
var members = []member{
	{"type", true, "The broad category of the error."},
	{"code", true, "The specific problem. Branch on this one."},
	{"message", true, "A text for the developer of the client. It may change."},
	{"param", false, "The parameter at fault, as the client spells it, such as `items[1].price`, or the name of a header. It is absent if no single parameter is at fault."},
	{"request_id", true, "The id of the request. Give it to support."},
	{"doc_url", false, "A link to the description of the code."},
	{"errors", false, "If several parameters are at fault: all of them, as objects with `code`, `param` and `message`. The first one is also in `param`."},
	{"metadata", false, "More about the error, by name. All values are strings."},
}
