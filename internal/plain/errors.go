package plain

import "fmt"

// ErrorText returns the text of err without the userinfo, query and fragment of URLs. The
// Error method may panic, as that of a typed nil may. Use [Text] to bound the result.
func ErrorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(a %T whose Error method panicked)", err)
		}
	}()
	return RedactURLs(err.Error())
}

// PanicText returns the text of a panic's value without the userinfo, query and fragment of URLs.
// fmt catches a panic of the value's Error or String method, but not one of the value that this
// method panics with. Use [Text] to bound the result.
func PanicText(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(a %T that panics when it is printed)", v)
		}
	}()
	return RedactURLs(fmt.Sprint(v))
}
