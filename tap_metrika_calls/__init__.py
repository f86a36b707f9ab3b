"""Singer tap for the processing status of uploads to Yandex Metrica."""
