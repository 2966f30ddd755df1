package reqstate

import "net/http"

// Serve calls next with c, which is r or a copy of r. When next returns, r has the pattern
// and the parsed form of c, as if r itself had been served: outer layers read the pattern,
// and net/http removes the temporary files of the form. After a panic, net/http may leave
// those files, so Serve removes them.
//
// Every middleware of this module that passes on a copy uses Serve or [ServeAgain].
func Serve(next http.Handler, w http.ResponseWriter, r, c *http.Request) {
	if r == c {
		next.ServeHTTP(w, r)
		return
	}
	returned := false
	defer func() { HandBack(r, c, returned) }()
	next.ServeHTTP(w, c)
	returned = true
}

// HandBack does what [Serve] does at the end, for a middleware that does not call its handler
// itself. returned is false after a panic.
func HandBack(r, c *http.Request, returned bool) {
	if r == c {
		return
	}
	s := From(c.Context())
	s.handBackPattern(r, c)
	if !returned {
		removeFiles(r, c)
	}
	handBackForm(r, c)
	s.leave(r)
}

// ServeAgain is [Serve] for a handler that may be called again with another copy of r. The
// parsed form is not handed back, and its temporary files are removed.
func ServeAgain(next http.Handler, w http.ResponseWriter, r, c *http.Request) {
	defer func() {
		From(c.Context()).handBackPattern(r, c)
		removeFiles(r, c)
	}()
	next.ServeHTTP(w, c)
}

// Settle hands the patterns and forms of the copies that [WithPrincipal] made of r back to
// r, whose handler has returned. The outermost [Serve] does the same.
func Settle(r *http.Request) {
	if s := From(r.Context()); s != nil {
		s.request.settle(r)
	}
}

// handBackPattern sets r.Pattern. It does not write if nothing has changed, because r may
// be served more than once at the same time.
func (s *State) handBackPattern(r, c *http.Request) {
	if pattern := s.Pattern(c); pattern != r.Pattern {
		r.Pattern = pattern
	}
}

// handBackForm gives r the parsed form of its copy c. If r has a multipart form already,
// the files of c's form are removed.
func handBackForm(r, c *http.Request) {
	if r.Form == nil && c.Form != nil {
		r.Form = c.Form
	}
	if r.PostForm == nil && c.PostForm != nil {
		r.PostForm = c.PostForm
	}
	switch {
	case r.MultipartForm != nil:
		removeFiles(r, c)
	case c.MultipartForm != nil:
		r.MultipartForm = c.MultipartForm
	}
}

// removeFiles removes the temporary files of a form that was parsed since c was copied from
// r. It forgets the form, because other requests may later use the same file names.
func removeFiles(r, c *http.Request) {
	if f := c.MultipartForm; f != nil && f != r.MultipartForm {
		c.MultipartForm = nil
		_ = f.RemoveAll()
	}
}
