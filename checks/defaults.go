package checks

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// SetDefaults sets the fields of the struct that options points to from their default tags; a slice's tag holds its
// elements with commas between them. A tag that does not fit its field is a mistake of the program, hence a panic.
func SetDefaults(options any) {
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		text, ok := field.Tag.Lookup("default")
		if !ok {
			continue
		}
		if err := setText(v.Field(i), text); err != nil {
			panic(fmt.Sprintf("checks: default of %s.%s: %v", v.Type(), field.Name, err))
		}
	}
}

func setText(v reflect.Value, text string) (err error) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if d, ok := v.Addr().Interface().(*time.Duration); ok {
		*d, err = time.ParseDuration(text)
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 0)
		v.SetInt(n)
		return err
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err
	case reflect.Slice:
		return setSlice(v, strings.Split(text, ","))
	default:
		return fmt.Errorf("no text form for a field of type %s", v.Type())
	}
	return nil
}

func setSlice(v reflect.Value, texts []string) error {
	s := reflect.MakeSlice(v.Type(), len(texts), len(texts))
	for i, text := range texts {
		if err := setText(s.Index(i), strings.TrimSpace(text)); err != nil {
			return err
		}
	}
	v.Set(s)
	return nil
}
