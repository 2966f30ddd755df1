package redislimit

import _ "embed" // for the scripts

// The scripts. Those that need a bucket begin with bucket.lua.
var (
	//go:embed bucket.lua
	bucketLua string
	//go:embed take.lua
	takeLua string
	//go:embed adjust.lua
	adjustLua string
	//go:embed reset.lua
	resetLua string
)
