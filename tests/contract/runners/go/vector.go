package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

type step struct {
	Given, State map[string]any
	Script       string
	Keys         []string
	Args         []any
	Reply        any
	Error        string
}

type script struct {
	File, SHA1 string
	Keys       []struct{ Each, Bound string }
}

func strict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder.Decode(into)
}

// plain turns numbers into int64 and {"hex": "00ff"} into the string of those bytes.
func plain(raw any) any {
	switch v := raw.(type) {
	case json.Number:
		number, _ := v.Int64()
		return number
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		if coded, ok := v["hex"].(string); ok && len(v) == 1 {
			if text, err := hex.DecodeString(coded); err == nil {
				return string(text)
			}
		}
		for key := range v {
			v[key] = plain(v[key])
		}
	}
	return raw
}

func (s script) takes(count int) bool {
	low, high := 1, 1
	if s.Keys[0].Each != "" {
		_, bound, _ := strings.Cut(s.Keys[0].Bound, "=")
		fmt.Sscanf(bound, "%d..%d", &low, &high)
	}
	return count%len(s.Keys) == 0 && low*len(s.Keys) <= count && count <= high*len(s.Keys)
}

func differs(what string, found, wanted any) error {
	if wanted = plain(wanted); !reflect.DeepEqual(found, wanted) {
		return fmt.Errorf("%s: %q, not %q", what, found, wanted)
	}
	return nil
}
