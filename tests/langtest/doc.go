// Package langtest tests the typed errors that package reference makes, in their languages: with
// the TypeScript compiler, Node.js, Python and Go.
//
// The parsers agree with apierror.Parse, except for what each language does in its own way:
//
//   - Where apierror.Parse writes the text of a status, they write its number: the texts differ
//     between languages and their versions.
//   - TypeScript and Python see the lines of a header joined by commas. They ignore a request id
//     with commas, unless all its parts are the same. They ignore a Retry-After that is empty, or
//     that has commas and a part that they cannot read. TypeScript can read dates there. Python
//     cannot, but reads the lines one by one, if its HTTP package does not join them.
//   - They count the bounds of texts in characters, not in bytes. They have no bounds for the
//     entries of errors and metadata other than that of the body.
//   - TypeScript and Python are given bodies without a Content-Encoding, as fetch and the usual
//     packages give them.
//   - Python has a smaller bound for nesting. A body beyond it is not an error object.
//   - They know the type of every code in their catalog. apierror.Parse knows only those of the
//     built-in catalog.
//
// It is a separate module because it needs npm packages.
package langtest
