"""Photos to aligned faces: landmarks read or found, faces turned and cut, and the folder they are kept in."""
