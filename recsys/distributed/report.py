def write_report(night): pass
