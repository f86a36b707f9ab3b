"""Singer tap for the uploads of phone calls to Yandex Metrica."""
