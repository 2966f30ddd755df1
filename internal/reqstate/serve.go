package reqstate

import "net/http"

// Serve has next serve c, which is r or a copy of r that a middleware made. When next returns, r is
// as if it had been served itself: it has the route's pattern, which outer layers read, and the
// parsed form, whose temporary files net/http removes. After a panic net/http may never come to
// that, so Serve removes them.
//
// Every middleware of this project that passes a copy on does it through Serve or [ServeAgain].
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

// HandBack is what [Serve] does at the end, for a middleware that does not call its handler
// directly.
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

// ServeAgain is [Serve] for a handler that may be called again with another copy of r, which must
// find no parsed form. The files are removed when next returns.
func ServeAgain(next http.Handler, w http.ResponseWriter, r, c *http.Request) {
	defer func() {
		From(c.Context()).handBackPattern(r, c)
		removeFiles(r, c)
	}()
	next.ServeHTTP(w, c)
}

// Settle takes back into r what its copies for a principal have learned. Its handler must have
// returned. The outermost [Serve] does the same.
func Settle(r *http.Request) {
	if s := From(r.Context()); s != nil {
		s.request.settle(r)
	}
}

// handBackPattern changes r only if there is something new: r may be served by someone else too.
func (s *State) handBackPattern(r, c *http.Request) {
	if pattern := s.Pattern(c); pattern != r.Pattern {
		r.Pattern = pattern
	}
}

// handBackForm gives r what its copy c has parsed. A second form with files, of another copy, is of
// no use to anyone further out.
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

// removeFiles removes the temporary files of the form that was parsed since c was copied from r. It
// does so once: a name that is free again may become another request's.
func removeFiles(r, c *http.Request) {
	if f := c.MultipartForm; f != nil && f != r.MultipartForm {
		c.MultipartForm = nil
		_ = f.RemoveAll()
	}
}
